"""tunesmith audit: the log of who asked for what; is it whole?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, open_database
from tunesmith.cli.output import show_json, stdout

if TYPE_CHECKING:
    from tunesmith.types.audit import AuditRow

__all__ = ["app", "show", "verify"]

app = typer.Typer(help="The audit log: show it, check it.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def verify(
    noted: Annotated[str | None, typer.Option(help="The digest an earlier check printed: is it still there?")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no row was changed, removed or put in.

    Exit code: 0 the log is whole, 1 it is not. Keep the digest it prints elsewhere, for --noted later.
    """
    from tunesmith.store.audit import verify as check

    with open_database() as session:
        found = check(session, noted)
    if as_json:
        show_json(found)
    elif found.broken is None:
        stdout().print(f"{found.rows:,} rows, none changed. The last is {found.head}", markup=False, soft_wrap=True)
    else:
        where = f"Row {found.broken:,}: " if found.broken else ""
        typer.secho(f"The audit log is not whole. {where}{found.reason}.", fg="red", err=True)
    raise typer.Exit(0 if found.broken is None else 1)


@app.command()
def show(
    limit: Annotated[int, typer.Option(help="How many rows, the newest first.", min=1, max=1000)] = 20,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest rows."""
    from tunesmith.cli import tables
    from tunesmith.store.audit import latest

    with open_database() as session:
        rows = latest(session, project, limit)
    if as_json:
        show_json(rows)
        return
    table = tables.grid("Audit log", "row", "time (UTC)", "project", "key", "asked for", "status", "model", "tokens")
    for column in table.columns[1:-1]:
        column.justify = "left"
    for row in rows:
        table.add_row(*_cells(row))
    stdout().print(table)


def _cells(row: AuditRow) -> tuple[str, ...]:
    entry = row.entry
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at))
    tokens = f"{entry.prompt_tokens:,} + {entry.completion_tokens:,}"
    asked = f"{entry.method} {entry.path}"
    return (
        str(row.number),
        when,
        entry.project,
        entry.key or "-",
        asked,
        str(entry.status),
        entry.model or "-",
        tokens,
    )
