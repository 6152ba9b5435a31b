"""tunesmith run: the whole recipe, prepare to release, and what came out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.pipeline import Outcome

__all__ = ["command", "run_recipe", "show_outcome"]


def command(recipe: RecipePath, changes: Changes = None, as_json: AsJson = False) -> None:
    """Run a whole recipe: prepare, train, evaluate, gate, release.

    Finished stages are reused when nothing they depend on has changed.

    Exit code: 0 the gate passed (or was waived), 1 it failed, 3 it is undecided.
    """
    outcome = run_recipe(recipe, changes)
    if as_json:
        show_json(outcome)
    else:
        show_outcome(outcome, recipe)
    from tunesmith.gate.stage import exit_code

    raise typer.Exit(exit_code(outcome.decision.outcome))


def run_recipe(path: Path, changes: list[str] | None) -> Outcome:
    """Run every stage of the recipe with progress bars on stderr."""
    settings, checked = read_settings(), read_recipe(path, changes)
    from tunesmith import pipeline

    return pipeline.run(checked, path.parent, settings, RichProgress())


def show_outcome(outcome: Outcome, recipe: Path) -> None:
    """Tables of what was measured and judged, where everything lies, and what to type next."""
    from tunesmith.cli import tables

    console = stdout()
    console.print()
    console.print(tables.dataset_table(outcome.dataset))
    for line in tables.ledger_lines(outcome.dataset):
        console.print(line, markup=False)
    console.print()
    console.print(tables.run_table(outcome.run))
    console.print()
    console.print(tables.contestants_table(outcome.report))
    console.print()
    last = outcome.report.contestants[-1]
    console.print(tables.comparisons_table(outcome.report, {last.name}))
    confused = tables.confusion_table(last)
    if confused is not None:
        console.print()
        console.print(confused)
    console.print()
    for text in tables.verdict_lines(outcome.decision):
        console.print(text)
    console.print()
    where = tables.grid("Where everything lies", "", "")
    where.columns[1].justify = "left"
    where.add_row("report", str(outcome.report_path))
    where.add_row("run", outcome.run.path)
    where.add_row("release", f"{outcome.release.reference}  {outcome.release.adapter_path}")
    console.print(where)
    console.print()
    following = tables.grid("What to type next", "", "")
    following.columns[1].justify = "left"
    following.add_row(f"tunesmith chat {outcome.release.reference}", "ask the tuned model")
    following.add_row("tunesmith serve", "an OpenAI-compatible server for all releases")
    following.add_row(f"tunesmith models {outcome.release.reference}", "what this release is made of")
    if not outcome.decision.passed:
        following.add_row(f"tunesmith release {recipe} --force", "move the alias although the gate did not pass")
    console.print(following)
