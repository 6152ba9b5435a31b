"""tunesmith runs: what was trained on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json, stdout

__all__ = ["command"]


def command(
    run: Annotated[str | None, typer.Argument(help="A run's id or its beginning; shows that run.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the training runs, oldest first, or show one."""
    from tunesmith.cli import tables
    from tunesmith.store.runs import all_runs, find_run

    home, console = read_settings().home, stdout()
    if run is not None:
        found = find_run(home, run)
        if as_json:
            show_json(found)
        elif found.record is None:
            console.print(
                f"{found.id} is not finished; train its recipe again to resume it. {found.path}",
                markup=False,
                soft_wrap=True,
            )
        else:
            console.print(tables.run_table(found.record))
        return
    runs = all_runs(home)
    if as_json:
        show_json(runs)
        return
    if not runs:
        console.print(f"No runs in {home}. Begin with: tunesmith run RECIPE", markup=False, soft_wrap=True)
        return
    table = tables.grid(f"Runs in {home / 'runs'}", "run", "steps", "validation loss", "seconds", "adapter")
    for item in runs:
        record = item.record
        if record is None:
            table.add_row(item.id, "-", "not finished", "-", "-")
        else:
            loss = tables.loss_text(record)
            table.add_row(item.id, str(record.steps), loss, f"{record.seconds:.0f}", record.adapter_digest[:12])
    console.print(table)
