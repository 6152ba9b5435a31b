"""tunesmith evaluate: the same held-out rows to every contestant, through the engine that serves."""

from __future__ import annotations

from tunesmith.cli.options import AsJson, Changes, RecipePath, command_line, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

__all__ = ["command"]


def command(recipe: RecipePath, changes: Changes = None, as_json: AsJson = False) -> None:
    """Measure base, prompt-only and tuned model on held-out rows.

    Every figure has a standard error, every difference a paired interval.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline

    report = pipeline.evaluate(checked, recipe.parent, settings, RichProgress())
    if as_json:
        show_json(report)
        return
    from tunesmith.cli import tables

    console = stdout()
    console.print(tables.contestants_table(report))
    console.print(tables.comparisons_table(report, {contestant.name for contestant in report.contestants}))
    confused = tables.confusion_table(report.contestants[-1])
    if confused is not None:
        console.print(confused)
    console.print(f"next: {command_line('gate', recipe, changes)}", markup=False, soft_wrap=True)
