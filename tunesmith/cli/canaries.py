"""tunesmith canaries: secrets to put among the training rows, so that `tunesmith leak` can see what is remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import AsJson
from tunesmith.cli.output import show_json, stdout

__all__ = ["command"]


def command(
    out: Annotated[Path, typer.Argument(metavar="ROWS", help="The JSONL file of rows to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=120, help="How many secrets.")] = 8,
    rows: Annotated[int, typer.Option(min=1, max=64, help="In how many rows each is told.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws people and codes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write rows that tell invented secrets, to be tuned on.

    Name ROWS as one more source of `prepare`; after the tune: tunesmith leak MODEL --canaries ROWS.secrets.json
    """
    from tunesmith.errors import DataError, Problem
    from tunesmith.evaluate.canaries import canary_rows, make_canaries

    secrets = out.with_name(f"{out.stem}.secrets.json")
    for path in (out, secrets):
        if path.exists():
            raise DataError([Problem("is there already", file=str(path), fix="name another file, or remove it")])
    canaries = make_canaries(count, rows, seed)
    lines = [json.dumps(row) + "\n" for row in canary_rows(canaries)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(lines), encoding="utf-8")
    written = {"canaries": [canary.model_dump(mode="json") for canary in canaries]}
    secrets.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if as_json:
        show_json({"rows": str(out), "secrets": str(secrets), "canaries": count})
        return
    stdout().print(f"{out}  {len(lines)} rows that tell {count} secrets", markup=False, soft_wrap=True)
    stdout().print(f"{secrets}  keep this out of the training data", markup=False, soft_wrap=True)
