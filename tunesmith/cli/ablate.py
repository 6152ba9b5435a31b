"""tunesmith ablate: the table of what each option of training is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tunesmith.cli.options import AsJson, Changes, Grid, RecipePath, read_grid
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.search.ablation import Ablation
    from tunesmith.search.ablation_files import AblationFiles

__all__ = ["command"]


def command(
    recipe: RecipePath,
    grid: Grid,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Measure every combination of options: score, latency, memory.

    Tunes all combinations as `tunesmith tune` does, finished ones are reused, and asks each for the validation rows
    through the engine that serves. Writes a table (CSV, Markdown), a plot (SVG) and JSON. The test rows are not looked
    at.

    Exit code: 0 all are measured, 1 one failed (the others are measured nevertheless).
    """
    settings, points = read_grid(recipe, changes, grid)
    from tunesmith.search.ablation import ablate
    from tunesmith.search.ablation_files import write

    found = ablate(points, recipe.parent, settings, RichProgress())
    files = write(found, settings.home)
    if as_json:
        show_json({**found.model_dump(mode="json"), "failed": found.failed})
    else:
        _show(found, files)
    raise typer.Exit(1 if found.failed else 0)


def _show(found: Ablation, files: AblationFiles) -> None:
    from tunesmith.cli import tables
    from tunesmith.search.ablation_files import heads, label_of, row_of

    console = stdout()
    table = tables.grid(f"{len(found.cells)} combinations on {found.rows} validation rows", "", *heads(found))
    for place, cell in enumerate(found.cells):
        table.add_row("best" if place == found.best else "", *row_of(found, cell))
    console.print(table)
    for cell in found.cells:
        if cell.failure:
            console.print(f"{label_of(cell)} failed: {cell.failure}", style="red", markup=False)
    console.print("the test split was not looked at", markup=False)
    for file in files:
        console.print(f"written: {file}", markup=False, soft_wrap=True)
