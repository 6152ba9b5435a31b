"""The table of all metrics in docs/metrics.md, written from the plugins themselves.

`python -m tunesmith.evaluate.metric_table docs/metrics.md` brings the guide up to date.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, cast

from pydantic_core import PydanticUndefined

from tunesmith import plugins
from tunesmith.evaluate.metric import FOLDER, Graded, Metric

__all__ = ["END", "START", "metric_table", "with_table"]

START = "<!-- metrics: start -->\n"
END = "<!-- metrics: end -->\n"


def metric_table() -> str:
    """A Markdown table with a row for every metric: its name, direction, meaning, reckoning and options."""
    rows = [_row(name, plugins.load(FOLDER, name)) for name in plugins.names(FOLDER)]
    return (
        "\n".join(["| metric | better | what it says | how | options |", "| --- | --- | --- | --- | --- |", *rows])
        + "\n"
    )


def with_table(guide: str) -> str:
    """The text of the guide with the table of today between its two marks."""
    before, _, rest = guide.partition(START)
    _, _, after = rest.partition(END)
    return before + START + metric_table() + END + after


def _row(name: str, kind: type[Any]) -> str:
    metric = cast(Metric, kind)
    says = metric.meaning.removesuffix(" (lower is better)")
    how = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
    if issubclass(kind, Graded):
        how += " *Graded once, when the answers are there.*"
    options = ", ".join(f"`{option}` ({_default(field.default)})" for option, field in kind.model_fields.items())
    cells = (f"`{name}`", metric.better, says, how, options or "none")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "needed"
    return "not set" if value in ("", None, ()) else str(value)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
