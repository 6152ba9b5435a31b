"""Measured lines as a table: on the screen and in bench/RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

__all__ = ["markdown", "screen"]

COLUMNS = (
    "workload",
    "ours tok/s",
    "TRL tok/s",
    "speed",
    "wanted",
    "per CPU second",
    "share of peak",
    "wanted",
    "ours GB",
    "TRL GB",
    "memory",
    "wanted",
    "curve differs",
)
INTRODUCTION = """# Measured

Written by `python -m bench.run`; not edited by hand. What the columns mean stands in [README.md](README.md).
"""


def screen(lines: Mapping[str, Mapping[str, Any]]) -> Table:
    """For a terminal."""
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for name, line in lines.items():
        table.add_row(name, *_cells(name, line)[1:])
    return table


def markdown(lines: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(name, line) for name, line in lines.items())]
    notes = [_note(name, line) for name, line in lines.items()]
    return "\n".join([INTRODUCTION, *(f"| {' | '.join(row)} |" for row in rows), "", *notes]) + "\n"


def _cells(name: str, line: Mapping[str, Any]) -> Sequence[str]:
    wanted, ours, trl = line["wanted"], line["ours"], line["trl"]
    return (
        f"{name}: {line['title']}",
        f"{ours['tokens_per_second']:.0f}",
        f"{trl['tokens_per_second']:.0f}",
        f"{line['speed_ratio']:.2f}x",
        f"{wanted['speed']:g}x" if wanted["speed"] else "",
        f"{line['processor_ratio']:.2f}x",
        f"{line['peak_share']:.0%}",
        f"{wanted['peak_share']:.0%}" if wanted["peak_share"] else "",
        f"{ours['peak_bytes'] / 2**30:.1f}",
        f"{trl['peak_bytes'] / 2**30:.1f}",
        f"{line['memory_ratio']:.2f}x",
        f"{wanted['memory']:g}x",
        f"{line['largest_relative_difference']:.0e}",
    )


def _note(name: str, line: Mapping[str, Any]) -> str:
    spread = ", ".join(f"{ratio:.2f}" for ratio in line["speed_ratios"])
    machine, computed = line["machine"], line["computed_tokens"]
    timed = (
        f"{line['rounds']} round(s) of {line['steps']} steps ({line['warm_up']} to warm up) of "
        f"{line['examples_a_step']} examples; ratios {spread}; {line['effective_tokens']} tokens timed, for which we "
        f"computed {computed['ours']} and TRL {computed['trl']}"
    )
    return (
        f"- {name}: {line['measured']}, {machine['processor']}, {machine['cores']} cores, {line['precision']}, "
        f"{timed}; peak {line['peak_operations_per_second'] / 1e9:.0f} GFLOP/s; "
        f"other work took {_share(line['others'])} of the processors; compared: {line['compared'].replace('_', ' ')}"
    )


def _share(value: float | None) -> str:
    return "an unmeasured part" if value is None else f"{value:.0%}"
