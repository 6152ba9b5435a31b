"""What tuning did to the recipe's suites: the gain or the forgetting, beside the gain on the recipe's own task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tunesmith.evaluate.report import wording
from tunesmith.evaluate.report.story import comparison_between, rival, subject
from tunesmith.types.report import Comparison, EvaluationReport, Score

__all__ = ["SuiteRow", "rows_of_suites", "suite_rows"]


class SuiteRow(NamedTuple):
    """One metric of one suite; `first` marks a suite's first row, `kind` is good, bad, unsure or none."""

    first: bool
    suite: str
    items: int
    metric: str
    theirs: str
    ours: str
    error: str
    difference: str
    interval: str
    kind: str
    reading: str


def suite_rows(evaluation: EvaluationReport) -> tuple[SuiteRow, ...]:
    """Every metric of every suite: the rival (untuned, with the prompt), the subject (tuned), and the difference."""
    return rows_of_suites(evaluation.suites, "worse: forgotten")


def rows_of_suites(reports: Mapping[str, EvaluationReport], worse: str) -> tuple[SuiteRow, ...]:
    """Every metric of the reports of suites by their names; `worse` is what a settled loss is called."""
    return tuple(
        _row(name, report, metric, index == 0, worse)
        for name, report in reports.items()
        for index, metric in enumerate(subject(report).scores)
    )


def _row(suite: str, report: EvaluationReport, metric: str, first: bool, worse: str) -> SuiteRow:
    ours, other = subject(report), rival(report)
    score = ours.scores[metric]
    found = comparison_between(report, metric, ours.name, other.name) if other else None
    kind, reading = _reading(found, worse)
    return SuiteRow(
        first=first,
        suite=suite,
        items=report.rows,
        metric=wording.head(metric, score),
        theirs=wording.amount(other.scores[metric].value, score.scale) if other else "",
        ours=wording.amount(score.value, score.scale),
        error=" ".join(filter(None, (wording.plus_minus(score), _unscored(score)))),
        difference=wording.difference(found.difference, score.scale) if found else "",
        interval=f"{wording.change(found.low, score.scale)} to {wording.change(found.high, score.scale)}"
        if found
        else "",
        kind=kind,
        reading=reading,
    )


def _reading(found: Comparison | None, worse: str) -> tuple[str, str]:
    """(kind, words) of a difference: a settled loss on a general suite is what tuning has made the model forget."""
    if found is None:
        return "none", "not compared"
    if found.rows_for_decision is not None:
        return "unsure", "no change that these items can show"
    gain = found.difference if found.better == "higher" else -found.difference
    return ("good", "better") if gain > 0 else ("bad", worse)


def _unscored(score: Score) -> str:
    return f"{score.unscored} unscored" if score.unscored else ""
