"""All that a suite's report shows of one evaluation, computed once for every form of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tunesmith.evaluate.analysis.failures import (
    ErrorKind,
    RowFlips,
    WrongAnswer,
    error_kinds,
    row_flips,
    wrong_answers,
)
from tunesmith.evaluate.analysis.rows import main_title
from tunesmith.evaluate.analysis.slices import Help, Slice, most_helpful, slices
from tunesmith.evaluate.calibration import ConfidenceBin, confidence_histogram
from tunesmith.evaluate.report.reach import Reach, reach_cells, reaches
from tunesmith.evaluate.report.samples import ConfusedPair, confused_pairs
from tunesmith.evaluate.report.story import rival, subject
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

__all__ = ["Findings", "findings"]


class Findings(NamedTuple):
    """`ours` is the model the report is about, `other` the one it is compared with; `title` is the metric that rows are
    judged by.
    """

    report: EvaluationReport
    title: str
    ours: Contestant
    other: Contestant | None
    slices: tuple[Slice, ...]
    flips: RowFlips | None
    kinds: tuple[ErrorKind, ...]
    answers: tuple[WrongAnswer, ...]
    confused: tuple[ConfusedPair, ...]
    histogram: tuple[ConfidenceBin, ...]
    helpful: tuple[Help, ...]
    reaches: tuple[Reach, ...]

    @property
    def reach_table(self) -> tuple[list[str], list[list[str]]]:
        """(heads, rows) of what more items would tell; no heads where nothing can be said."""
        other = self.other.name if self.other and any(each.half_width_of_difference for each in self.reaches) else None
        return reach_cells(self.reaches, self.ours.scores[self.title].scale, self.ours.name, other)

    def as_json(self) -> dict[str, Any]:
        """The findings in plain values, without the rows."""
        return {
            "suite": self.report.split,
            "model": self.ours.name,
            "baseline": self.other.name if self.other else None,
            "judged_by": self.title,
            "items": self.report.rows,
            "scores": {each.name: _plain(each.scores) for each in self.report.contestants},
            "comparisons": [each.model_dump(mode="json") for each in self.report.comparisons],
            "win_rates": [each.model_dump(mode="json") for each in self.report.wins],
            "judge_agreement": [each.model_dump(mode="json") for each in self.report.agreements],
            "slices": [{**each._asdict(), "scores": _plain(each.scores)} for each in self.slices],
            "won": [each._asdict() for each in self.flips.won] if self.flips else [],
            "lost": [each._asdict() for each in self.flips.lost] if self.flips else [],
            "errors": [each._asdict() for each in self.kinds],
            "wrong_answers": [each._asdict() for each in self.answers],
            "confused": [each._asdict() for each in self.confused],
            "confidence": [each._asdict() for each in self.histogram],
            "rows_that_would_help": [each._asdict() for each in self.helpful],
            "budgets": [each._asdict() for each in self.reaches],
        }


def findings(report: EvaluationReport) -> Findings:
    """What there is to say of the last model (or the tuned one) beside the first other."""
    title = main_title(report)
    ours, other = subject(report), rival(report)
    return Findings(
        report=report,
        title=title,
        ours=ours,
        other=other,
        slices=slices(report, title),
        flips=row_flips(report, ours, other, title) if other else None,
        kinds=error_kinds(report, ours, title),
        answers=wrong_answers(report, ours, title),
        confused=confused_pairs(report, ours) if report.labels else (),
        histogram=confidence_histogram(_with_reference(ours), report.labels),
        helpful=most_helpful(report, ours, title),
        reaches=reaches(report, title, ours, other),
    )


def _with_reference(contestant: Contestant) -> list[Prediction]:
    """The rows of which it can be said that the answer is right."""
    return [row for row in contestant.predictions if row.reference and not row.error]


def _plain(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: score.model_dump(mode="json") for name, score in scores.items()}
