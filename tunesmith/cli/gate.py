"""tunesmith gate: may this model be released?"""

from __future__ import annotations

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

__all__ = ["command"]


def command(recipe: RecipePath, changes: Changes = None, as_json: AsJson = False) -> None:
    """Judge the evaluation by the rules of the recipe.

    Exit code for scripts: 0 pass, 1 fail, 2 inconclusive.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline
    from tunesmith.gate.stage import exit_code

    decision = pipeline.gate(checked, recipe.parent, settings, RichProgress())
    if as_json:
        show_json({**decision.model_dump(mode="json"), "outcome": decision.outcome})
    else:
        from tunesmith.cli import tables

        console = stdout()
        for text in tables.verdict_lines(decision):
            console.print(text)
        console.print(f"next: tunesmith release {recipe}", markup=False)
    raise typer.Exit(exit_code(decision.outcome))
