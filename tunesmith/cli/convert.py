"""tunesmith convert: rows of any format, written in one that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.cli.options import AsJson
from tunesmith.cli.output import show_json

__all__ = ["command"]


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, folder, glob, - or address, as in recipes.")],
    to: Annotated[Literal["chat", "alpaca", "completion", "preference"], typer.Option(help="The format to write.")],
    out: Annotated[Path, typer.Option(help="The JSONL file to write.")],
    form: Annotated[str, typer.Option("--format", help="The format to read; auto finds it.")] = "auto",
    columns: Annotated[str | None, typer.Option(metavar="PROMPT,COMPLETION", help="The columns to read.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows of any data file in another format.

    They are read as `tunesmith prepare` reads a source; the file appears whole or not at all.
    """
    from tunesmith.errors import DataError, Problem
    from tunesmith.prepare.convert import convert
    from tunesmith.types.recipe import ColumnMapping, SourceSpec

    mapping = None
    if columns is not None:
        names = [name.strip() for name in columns.split(",")]
        if len(names) != 2 or not all(names):
            fix = "write the two names with a comma between, for example --columns text,category"
            raise DataError([Problem(f"{columns!r} does not name two columns", field="--columns", fix=fix)])
        mapping = ColumnMapping(prompt=names[0], completion=names[1])
    done = convert(SourceSpec(path=source, format=form, columns=mapping), to, out)
    if as_json:
        show_json(
            {"out": str(out), "rows": done.rows, "files": [{"file": file, "format": kind} for file, kind in done.files]}
        )
        return
    for file, kind in done.files:
        typer.echo(f"read {file}: {kind}")
    typer.echo(f"wrote {done.rows:,} {to} rows to {out}")
