"""tunesmith train: tune the model on the prepared rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, command_line, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

__all__ = ["command"]

Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Train on so many processes of this machine (docs/scale-out.md).")
]
OnRay = Annotated[bool, typer.Option("--ray", help="Start the processes on the Ray cluster of RAY_ADDRESS.")]


def command(
    recipe: RecipePath, processes: Processes = 1, ray: OnRay = False, changes: Changes = None, as_json: AsJson = False
) -> None:
    """Train the adapter, or resume a run that was interrupted.

    A resumed run ends with the same bytes as one that was never interrupted. With --processes, or started by
    torchrun, every process computes its share of each step; the numbers are those of one process.
    """
    if processes > 1 or ray:
        _launch(recipe, processes, ray, changes, as_json)
        if not ray:
            return  # rank 0 has shown the run
    from tunesmith.train.parallel.reports import reporting

    with reporting(os.environ):
        _train(recipe, changes, as_json)


def _launch(recipe: Path, processes: int, ray: bool, changes: list[str] | None, as_json: bool) -> None:
    from tunesmith.train.parallel.launch import launch
    from tunesmith.train.parallel.on_ray import launch_on_ray
    from tunesmith.train.parallel.place import require_alone

    require_alone(os.environ)
    words = [word for change in changes or () for word in ("--set", change)]
    command = [sys.executable, "-m", "tunesmith.cli.main", "train", str(recipe.absolute() if ray else recipe), *words]
    if ray:
        launch_on_ray(command, processes)
    else:
        launch([*command, "--json"] if as_json else command, processes)


def _train(recipe: Path, changes: list[str] | None, as_json: bool) -> None:
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline
    from tunesmith.progress import Silent

    with pipeline.joined(checked.train.parallel) as team:
        run = pipeline.train(checked, recipe.parent, settings, RichProgress() if team.leads else Silent(), team)
    if not team.leads:
        return
    if as_json:
        show_json(run)
        return
    from tunesmith.cli import tables

    console = stdout()
    console.print(tables.run_table(run))
    console.print(f"next: {command_line('evaluate', recipe, changes)}", markup=False, soft_wrap=True)
