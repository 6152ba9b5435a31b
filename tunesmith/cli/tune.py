"""tunesmith tune: several adapters on one base in one process, and which of them is best."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from tunesmith.cli.options import AsJson, Changes, Grid, RecipePath, command_line, read_grid
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.types.tuning import TuneReport

__all__ = ["command"]


def command(
    recipe: RecipePath,
    grid: Grid,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter for each combination of options.

    They share the base in one process. Each is a run like that of `tunesmith train` with the same options, with
    the same bytes; stopped and started again, finished ones are reused and the interrupted one resumes. Compared by
    validation loss alone.

    Exit code: 0 all are trained, 1 one failed (the others are trained nevertheless).
    """
    settings, points = read_grid(recipe, changes, grid)
    from tunesmith import pipeline

    report = pipeline.tune(points, recipe.parent, settings, RichProgress())
    if as_json:
        show_json({**report.model_dump(mode="json"), "failed": report.failed})
    else:
        _show(report, recipe, changes)
    raise typer.Exit(1 if report.failed else 0)


def _show(report: TuneReport, recipe: Path, changes: list[str] | None) -> None:
    from tunesmith.cli import tables

    names = [field.removeprefix("train.") for field in report.points[0].options]
    title = f"{len(report.points)} adapters in {report.seconds:.0f} s"
    table = tables.grid(title, "", *names, "validation loss", "steps", "seconds", "run")
    for point in report.points:
        run = point.run
        figures = ("failed", "-") if run is None else (tables.loss_text(run), str(run.steps))
        mark = "best" if point.run_id == report.best else ""
        values = (_text(value) for value in point.options.values())
        table.add_row(mark, *values, *figures, f"{point.seconds:.1f}", point.run_id)
    console = stdout()
    console.print(table)
    for point in report.points:
        if point.failure:
            console.print(f"{point.run_id} failed: {point.failure}", style="red", markup=False)
    console.print(report.choice, markup=False)
    if report.shared:
        saved = ", ".join(f"{part.what} {part.times}x ({part.seconds:.1f} s)" for part in report.shared)
        console.print(f"not made again: {saved}", markup=False)
    best = next((point for point in report.points if point.run_id == report.best), None)
    if best is not None:
        best_changes = [*(changes or ()), *(f"{field}={_text(value)}" for field, value in best.options.items())]
        console.print(f"next: {command_line('evaluate', recipe, best_changes)}", markup=False, soft_wrap=True)


def _text(value: object) -> str:
    """An option's value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)
