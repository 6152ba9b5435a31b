"""gate: rules judge an evaluation. Pure: a report and facts in, a decision out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.documents import choices
from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.gate.limits import undecidable
from tunesmith.gate.rule import Reads, Rule
from tunesmith.types.decision import Decision, Overall
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import GateSpec, PluginSpec
from tunesmith.types.report import EvaluationReport, Gauge

__all__ = ["FOLDER", "Measured", "Narrow", "exit_code", "judge", "load_rule", "problems", "unread", "whole"]

FOLDER = "tunesmith.gate.rules"

Narrow = Callable[[EvaluationReport, Reads], EvaluationReport]
"""The report with the rows that a rule reads narrowed to the slice that it names."""


def whole(report: EvaluationReport, reads: Reads) -> EvaluationReport:
    """The report as it is. Raises RecipeError for a rule that names a slice, whose figures it does not hold."""
    if reads.slice:
        raise RecipeError([Problem(f"the figures of the slice {reads.slice!r} were not measured", field="gate.rules")])
    return report


def judge(spec: GateSpec, report: EvaluationReport, facts: GateFacts, narrow: Narrow = whole) -> Decision:
    """Every rule's verdict, in the order of the recipe; all rules are judged even after one failed.

    Raises:
        RecipeError: a rule does not exist or its options are not acceptable.
        NotFound: a rule names a suite, slice, metric or contestant that the report does not have.
    """
    rules = [load_rule(rule) for rule in spec.rules]
    verdicts = tuple(rule.judge(narrow(report, rule.reads()), facts) for rule in rules)
    return Decision(report_digest=report.content_digest(), verdicts=verdicts)


def exit_code(outcome: Overall) -> int:
    """The process exit code for continuous integration: 0 pass (or waived), 1 fail, 3 inconclusive (2: wrong usage)."""
    return {"pass": 0, "pass (waived)": 0, "fail": 1, "inconclusive": 3}[outcome]


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


class Measured(NamedTuple):
    """What is measured on one set of rows: metric -> its gauge, the contestants, and whether a judge compares their
    answers. `where` and `who` say where more metrics and contestants are named. `slices` are the rows'
    slices, None while nobody knows them.
    """

    metrics: Mapping[str, Gauge]
    contestants: tuple[str, ...]
    where: str = "evaluate.metrics"
    judged: bool = False
    who: str = "evaluate.compare"
    slices: tuple[str, ...] | None = None


_NO_SUITES: Mapping[str, Measured] = MappingProxyType({})


def problems(gate: GateSpec, rows: Measured | None, suites: Mapping[str, Measured] = _NO_SUITES) -> tuple[Problem, ...]:
    """What is wrong with the rules in view of what is measured. Call it before anything runs.

    `rows` is measured on the dataset's own rows (None: there are suites only), `suites` by the suite's name.
    """
    found: list[Problem] = []
    for index, spec in enumerate(gate.rules):
        field = f"gate.rules.{index}"
        try:
            rule = load_rule(spec, field)
        except RecipeError as error:
            found.extend(error.problems)
        else:
            found.extend(unread(rule, field, rows, suites))
    return tuple(found)


def unread(
    rule: Rule, field: str, rows: Measured | None, suites: Mapping[str, Measured] = _NO_SUITES
) -> Iterator[Problem]:
    """What is wrong with one rule, which stands at `field`, in view of what is measured (see `problems`)."""
    reads, name = rule.reads(), type(rule).__module__.rpartition(".")[2]
    if reads.suite and reads.suite not in suites:
        yield _no_suite(field, name, reads.suite, tuple(suites))
    elif (measured := suites[reads.suite] if reads.suite else rows) is not None:
        options = {value: option for option, value in vars(rule).items() if isinstance(value, str)}
        yield from _absent(field, options, reads.metrics, tuple(measured.metrics), measured.where)
        yield from _absent(field, options, reads.contestants, measured.contestants, measured.who)
        yield from _unread(field, name, reads, measured)
    elif reads.contestants:
        message = f"{name} names no suite, and there are no rows but those of suites"
        yield Problem(message, field=f"{field}.suite", fix=choices("", tuple(suites)))


def _unread(field: str, rule: str, reads: Reads, measured: Measured) -> Iterator[Problem]:
    """What `rule` reads and will not find, or cannot judge, on rows that are measured."""
    if reads.judged and not measured.judged:
        message = f"{rule} needs a judge's verdicts, and the suite {reads.suite!r} asks for none"
        yield Problem(message, field=field, fix="write `pairwise: {model: ...}` in the suite")
    if reads.slice and measured.slices is not None and reads.slice not in measured.slices:
        message = f"no row is in the slice {reads.slice!r}"
        yield Problem(message, field=f"{field}.slice", fix=choices(reads.slice, measured.slices))
    if len(reads.contestants) > len(set(reads.contestants)):
        message = f"{rule} compares {reads.contestants[0]} with itself"
        yield Problem(message, field=f"{field}.baseline", fix="name two different contestants")
    for metric in reads.metrics:
        if metric not in measured.metrics:
            continue
        gauge = measured.metrics[metric]
        if reads.needs and gauge.better != reads.needs:
            fix = f"use {'max' if gauge.better == 'lower' else 'min'}_score or beats for it"
            message = f"{rule} cannot judge {metric}, where {gauge.better} is better"
            yield Problem(message, field=f"{field}.metric", fix=fix)
        elif reads.limit and (found := undecidable(reads.limit, f"{field}.{reads.limit.option}", metric, gauge)):
            yield found


def _no_suite(field: str, rule: str, suite: str, there: tuple[str, ...]) -> Problem:
    listing = f"{', '.join(there) or 'none yet'}; or add its file to evaluate.suites"
    message = f"{rule} reads the suite {suite!r}, which is not asked"
    return Problem(message, field=f"{field}.suite", fix=_fix(suite, there, listing))


def _absent(
    field: str, options: Mapping[str, str], wanted: tuple[str, ...], measured: tuple[str, ...], where: str
) -> Iterator[Problem]:
    """A problem for each name in `wanted` that is not measured, at the option that says it."""
    for name in dict.fromkeys(wanted):
        if name not in measured:
            place = f"{field}.{options[name]}" if name in options else field
            fix = _fix(name, measured, f"{', '.join(measured) or 'none yet'}; or add it to {where}")
            yield Problem(f"{name!r} is not measured", field=place, fix=fix)


def _fix(word: str, allowed: tuple[str, ...], listing: str) -> str:
    close = None if word in allowed else nearest(word, allowed)
    return (f"did you mean {close!r}? " if close else "") + f"allowed: {listing}"
