"""tunesmith gate: may this model be released? Rules are judged on the recipe's own run or on a stored evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.options import (
    AsJson,
    Changes,
    RecipePath,
    command_line,
    options_from,
    overrides_of,
    read_recipe,
    read_settings,
)
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.release.waivers import WaiverWish
    from tunesmith.types.decision import Decision

__all__ = ["GateFlags", "command"]


class GateFlags(NamedTuple):
    """The options of `tunesmith gate`."""

    recipe: RecipePath
    changes: Changes = None
    report: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Judge what `tunesmith eval run` wrote: its folder, or one file in it."),
    ] = None
    waive: Annotated[
        str | None, typer.Option(metavar="RULE", help="Answer for a rule that did not pass: its name or whole text.")
    ] = None
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is waived.")] = ""
    by: Annotated[str, typer.Option(metavar="NAME", help="Who answers for it.")] = ""
    until: Annotated[str, typer.Option(metavar="DATE", help="The last day on which the waiver counts.")] = ""
    as_json: AsJson = False


@options_from(GateFlags)
def command(flags: GateFlags) -> None:
    """Judge the evaluation by the rules of the recipe.

    With --report, the evaluation is one of `tunesmith eval run`, and RECIPE may be a file with `rules` alone.

    --waive signs with the key of the home that NAME answers for one verdict; other figures need another waiver.

    Exit code for scripts: 0 pass (or waived), 1 fail, 3 inconclusive.
    """
    if flags.waive is None and (flags.reason or flags.by or flags.until):
        raise typer.BadParameter("--reason, --by and --until belong to --waive RULE")
    from tunesmith.gate.stage import exit_code
    from tunesmith.release.waivers import WaiverWish, check_wish

    wish = None if flags.waive is None else WaiverWish(flags.waive, flags.reason, flags.by, flags.until)
    if wish is not None:
        check_wish(wish, datetime.now(UTC))  # before a recipe that was never run is trained for it
    decision = _of_run(flags, wish) if flags.report is None else _of_report(flags, flags.report, wish)
    if flags.as_json:
        show_json({**decision.model_dump(mode="json"), "outcome": decision.outcome})
    else:
        from tunesmith.cli import tables

        console = stdout()
        for text in tables.verdict_lines(decision):
            console.print(text)
        for line in _next(decision, flags) if flags.report is None else ():
            console.print(line, markup=False, soft_wrap=True)
    raise typer.Exit(exit_code(decision.outcome))


def _of_run(flags: GateFlags, wish: WaiverWish | None) -> Decision:
    settings, checked = read_settings(), read_recipe(flags.recipe, flags.changes)
    from tunesmith import pipeline

    return pipeline.gate(checked, flags.recipe.parent, settings, RichProgress(), wish)


def _of_report(flags: GateFlags, place: Path, wish: WaiverWish | None) -> Decision:
    from tunesmith.judging import judge_stored
    from tunesmith.recipes import load_rules

    rules = load_rules(flags.recipe, overrides_of(flags.changes))
    return judge_stored(flags.recipe, rules, place, read_settings().home, RichProgress(), wish)


def _next(decision: Decision, flags: GateFlags) -> Iterator[str]:
    """What to type next: the release, or what can be done about a verdict that holds it back."""
    if not decision.passed:
        held = next(each for each in decision.verdicts if each.outcome != "pass" and not decision.waiver_of(each))
        rule = held.rule.partition("(")[0]
        answer = ("--waive", rule, "--reason", "TEXT", "--by", "NAME")
        yield f"answer for it: {command_line('gate', flags.recipe, flags.changes, *answer)}"
        if decision.outcome == "inconclusive":
            yield f"or give it more held-out rows, and: {command_line('run', flags.recipe, flags.changes)}"
    yield f"next: {command_line('release', flags.recipe, flags.changes)}" + (
        "" if decision.passed else "  (registers it; the alias stays where it is)"
    )
