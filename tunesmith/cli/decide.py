"""tunesmith decide: should this be tuned, prompted, or given documents? Measured on the user's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tunesmith.cli.options import (
    AsJson,
    Changes,
    RecipePath,
    command_line,
    options_from,
    read_recipe,
    read_settings,
    text_of,
)
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.decide.evidence import DecideReport
    from tunesmith.decide.options import DecideOptions
    from tunesmith.decide.writing import DecisionFiles

__all__ = ["command"]


class _Given(NamedTuple):
    recipe: RecipePath
    changes: Changes = None
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", metavar="TEXT|@FILE", help="Another system prompt. Repeatable.")
    ] = None
    documents: Annotated[
        Path | None, typer.Option("--documents", metavar="FOLDER", help="Documents to find the answers in.")
    ] = None
    embeddings: Annotated[
        str, typer.Option("--embeddings", metavar="MODEL", help="What finds near rows; else the base's own table.")
    ] = ""
    metric: Annotated[str, typer.Option("--metric", help="What to decide by; else the gate's metric.")] = ""
    wanted: Annotated[float | None, typer.Option("--wanted", help="The score that is good enough.")] = None
    rows: Annotated[int, typer.Option("--rows", help="At most so many validation and test rows; 0: all.")] = 0
    tune_rows: Annotated[int, typer.Option("--tune-rows", help="Rows of the largest small tune.")] = 1600
    passes: Annotated[int, typer.Option("--passes", help="Passes over them; 0: the recipe's epochs.")] = 0
    chains: Annotated[int, typer.Option("--chains", help="How often the nested subsets are drawn.")] = 1
    calls_per_day: Annotated[float | None, typer.Option("--calls-per-day", help="Your volume.")] = None
    prompt_price: Annotated[
        float | None, typer.Option("--prompt-price", help="Price of a million prompt tokens of the prompted model.")
    ] = None
    answer_price: Annotated[
        float | None, typer.Option("--answer-price", help="Price of a million answer tokens of it.")
    ] = None
    machine_price: Annotated[
        float | None, typer.Option("--machine-price", help="Price of an hour of the machine that tunes and serves.")
    ] = None
    budget_minutes: Annotated[
        float, typer.Option("--budget-minutes", help="Measure no longer than this; 0: no end.")
    ] = 0.0
    as_json: AsJson = False


@options_from(_Given)
def command(given: _Given) -> None:
    """Say whether your rows call for prompting, retrieval or a tune.

    Measures base, prompts, few-shot, retrieval (with --documents) and small tunes on them, and recommends one. Choices
    are made on the validation rows, the recommendation on the test rows. What was measured is kept: the same command
    goes on where it was stopped.
    """
    settings, recipe = read_settings(), read_recipe(given.recipe, given.changes)
    options = _options(given)
    from tunesmith.decide.stage import decide

    report, files = decide(recipe, given.recipe.parent, options, settings, RichProgress())
    if given.as_json:
        show_json(report)
    else:
        _show(report, files, given)


def _options(given: _Given) -> DecideOptions:
    """Raises RecipeError with all options that are not acceptable."""
    from pydantic import ValidationError

    from tunesmith.decide.options import DecideOptions
    from tunesmith.errors import Problem, RecipeError

    prices = {
        "prompt_tokens": given.prompt_price,
        "answer_tokens": given.answer_price,
        "machine_hour": given.machine_price,
        "calls_per_day": given.calls_per_day,
    }
    fields = ("documents", "embeddings", "metric", "wanted", "rows", "tune_rows", "passes", "chains", "budget_minutes")
    options: dict[str, Any] = {name: getattr(given, name) for name in fields}
    try:
        prompts = [text_of(each, "--prompt") for each in given.prompt or ()]
        return DecideOptions.model_validate({**options, "prompts": prompts, "prices": prices})
    except ValidationError as error:
        found = [
            Problem(
                f"{detail['msg']}, found {detail['input']!r}",
                field="--" + str(detail["loc"][-1]).replace("_", "-"),
            )
            for detail in error.errors()
        ]
        raise RecipeError(found, message="The options cannot be used:") from error


def _show(report: DecideReport, files: DecisionFiles, given: _Given) -> None:
    from tunesmith.cli import tables
    from tunesmith.decide import wording

    console = stdout()
    shown = wording.arm_table(report.held_out)
    ways = tables.grid(f"Ways on {report.evidence.held_out_rows:,} held-out rows", *shown.heads[:-1])
    for row in shown.rows:
        ways.add_row(*row[:-1])
    console.print(ways)
    console.print()
    rules = tables.grid("Rules", "rule", "answer", "evidence")
    rules.columns[1].justify = rules.columns[2].justify = "left"
    for finding in report.findings:
        rules.add_row(finding.rule.replace("_", " "), finding.answer, finding.reason)
    console.print(rules)
    console.print()
    console.print(f"learning curve: {wording.curve_note(report.evidence.curve)}", markup=False)
    console.print(f"cost: {wording.even_note(report)}", markup=False)
    for each in report.collect:
        console.print(f"collect {each.kind}: {each.why}", markup=False)
    for left in report.left_out:
        console.print(f"left out: {left.what}: {left.why}", markup=False)
    console.print()
    console.print(f"recommendation: {report.recommendation.choice.replace('_', ' ')}", style="bold", markup=False)
    console.print(report.recommendation.headline, markup=False)
    for line in wording.summary(report):
        console.print(f"  {line}", markup=False)
    console.print(f"report: {files.html}", markup=False, soft_wrap=True)
    if report.recommendation.choice == "lora":
        console.print(f"next: {command_line('run', given.recipe, given.changes)}", markup=False, soft_wrap=True)
