"""tunesmith train: tune the model on the prepared rows."""

from __future__ import annotations

from tunesmith.cli.options import AsJson, Changes, RecipePath, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

__all__ = ["command"]


def command(recipe: RecipePath, changes: Changes = None, as_json: AsJson = False) -> None:
    """Train the adapter, or resume a run that was interrupted.

    A resumed run ends with the same bytes as one that was never interrupted.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline

    run = pipeline.train(checked, recipe.parent, settings, RichProgress())
    if as_json:
        show_json(run)
        return
    from tunesmith.cli import tables

    console = stdout()
    console.print(tables.run_table(run))
    console.print(f"next: tunesmith evaluate {recipe}", markup=False)
