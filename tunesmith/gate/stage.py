"""gate: rules judge an evaluation. Pure: a report in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.gate.rule import Rule
from tunesmith.types.decision import Decision, Outcome
from tunesmith.types.recipe import EvaluateSpec, GateSpec, PluginSpec
from tunesmith.types.report import Better, EvaluationReport

__all__ = ["FOLDER", "exit_code", "judge", "load_rule", "problems"]

FOLDER = "tunesmith.gate.rules"


def judge(spec: GateSpec, report: EvaluationReport) -> Decision:
    """Every rule's verdict, in the order of the recipe; all rules are judged even after one failed.

    Raises:
        RecipeError: a rule does not exist or its options are not acceptable.
        NotFound: a rule names a metric or contestant that the report does not have.
    """
    rules = [load_rule(rule) for rule in spec.rules]
    return Decision(report_digest=report.content_digest(), verdicts=tuple(rule.judge(report) for rule in rules))


def exit_code(outcome: Outcome) -> int:
    """The process exit code for continuous integration: 0 pass, 1 fail, 2 inconclusive."""
    return {"pass": 0, "fail": 1, "inconclusive": 2}[outcome]


def load_rule(spec: PluginSpec, field: str = "gate.rules") -> Rule:
    """The rule that `spec` describes. Raises RecipeError with every problem of its name and options."""
    try:
        kind = plugins.load(FOLDER, spec.name)
    except NotFound as error:
        raise RecipeError([Problem(error.message, field=f"{field}.name", fix=error.hint)]) from error
    try:
        return cast(Rule, kind.model_validate(spec.options))
    except ValidationError as error:
        allowed = ", ".join(kind.model_fields)
        raise RecipeError(
            [
                Problem(
                    f"{detail['msg']} (got {detail['input']!r})",
                    field=".".join([field, *(str(part) for part in detail["loc"])]),
                    fix=_fix(str(detail["loc"][-1]) if detail["loc"] else "", tuple(kind.model_fields), allowed),
                )
                for detail in error.errors()
            ]
        ) from error


def problems(
    gate: GateSpec, evaluate: EvaluateSpec, directions: Mapping[str, Better] | None = None
) -> tuple[Problem, ...]:
    """What is wrong with the rules in view of what will be measured. Call it before anything runs.

    `directions` tells which way each metric improves (`tunesmith.evaluate.metric.directions(evaluate.metrics)`).
    """
    found: list[Problem] = []
    for index, spec in enumerate(gate.rules):
        field = f"gate.rules.{index}"
        try:
            reads = load_rule(spec, field).reads()
        except RecipeError as error:
            found.extend(error.problems)
            continue
        found.extend(_absent(field, "metric", reads.metrics, evaluate.metrics, "evaluate.metrics"))
        found.extend(_absent(field, "contestant", reads.contestants, evaluate.compare, "evaluate.compare"))
        found.extend(
            Problem(
                f"{spec.name} cannot judge {metric}, where {way} is better",
                field=f"{field}.metric",
                fix="use max_invalid or beats for it",
            )
            for metric in reads.metrics
            if reads.needs and (way := (directions or {}).get(metric, reads.needs)) != reads.needs
        )
    return tuple(found)


def _absent(field: str, noun: str, wanted: tuple[str, ...], measured: tuple[str, ...], where: str) -> list[Problem]:
    return [
        Problem(
            f"the rule needs the {noun} {name!r}, which will not be measured",
            field=field,
            fix=_fix(name, measured, f"{', '.join(measured)}; or add it to {where}"),
        )
        for name in wanted
        if name not in measured
    ]


def _fix(word: str, allowed: tuple[str, ...], listing: str) -> str:
    close = None if word in allowed else nearest(word, allowed)
    return (f"did you mean {close!r}? " if close else "") + f"allowed: {listing}"
