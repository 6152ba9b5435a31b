"""Testing criteria: graders with the score from which a row passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from tunesmith.errors import TunesmithError
from tunesmith.grade.grader import Answered, Grade, Grader, load_grader, unscored
from tunesmith.grade.judge import Judge
from tunesmith.serve.graders import (
    LabelModelGrader,
    PythonGrader,
    ScoreModelGrader,
    StringCheckGrader,
    TextSimilarityGrader,
)

__all__ = ["Criterion", "Judged", "PythonCriterion", "ScoreModelCriterion", "TextSimilarityCriterion", "judged"]

_DEFAULT_THRESHOLD = 0.5


class TextSimilarityCriterion(TextSimilarityGrader):
    """A row passes from `pass_threshold` on."""

    pass_threshold: float


class PythonCriterion(PythonGrader):
    """A row passes from `pass_threshold` on; 0.5 when it is not given."""

    pass_threshold: float | None = None


class ScoreModelCriterion(ScoreModelGrader):
    """A row passes from `pass_threshold` on; the middle of `range` when it is not given."""

    pass_threshold: float | None = None


def _kind(given: Any) -> str | None:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return f"{kind}:criterion" if isinstance(kind, str) else None


Criterion = Annotated[
    Annotated[StringCheckGrader, Tag("string_check:criterion")]
    | Annotated[TextSimilarityCriterion, Tag("text_similarity:criterion")]
    | Annotated[PythonCriterion, Tag("python:criterion")]
    | Annotated[ScoreModelCriterion, Tag("score_model:criterion")]
    | Annotated[LabelModelGrader, Tag("label_model:criterion")],
    Discriminator(
        _kind,
        custom_error_type="criterion_type",
        custom_error_message="type must be string_check, text_similarity, python, score_model or label_model",
    ),
]
"""A grader of an eval."""


class Judged:
    """A stored criterion, ready to judge: its id, its grader and the score from which a row passes."""

    def __init__(self, criterion: Mapping[str, Any]) -> None:
        self.id = str(criterion["id"])
        self.type = str(criterion["type"])
        self._grader: Grader = load_grader(criterion["spec"])
        self._threshold = _threshold(criterion)

    async def results(self, answers: Sequence[Answered], judge: Judge) -> list[dict[str, Any]]:
        """What the API says of each answer. An answer that could not be graded has not passed and says why."""
        if not answers:
            return []
        try:
            grades = await self._grader.grade(answers, judge)
        except TunesmithError as error:
            grades = [unscored("other_error", str(error)) for _ in answers]
        return [self._result(grade) for grade in grades]

    def _result(self, grade: Grade) -> dict[str, Any]:
        score = 0.0 if grade.score is None else grade.score
        return {
            "name": self.id,
            "type": self.type,
            "passed": grade.score is not None and score >= self._threshold,
            "score": score,
            "sample": None,
            "error": grade.error,
            "error_details": grade.detail or None,
        }


def judged(criteria: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """The criteria of a stored eval."""
    return [Judged(criterion) for criterion in criteria]


def _threshold(criterion: Mapping[str, Any]) -> float:
    given = criterion.get("pass_threshold")
    if given is not None:
        return float(given)
    if criterion["type"] in ("string_check", "label_model"):
        return 1.0
    low, high = criterion.get("range") or (0.0, 2 * _DEFAULT_THRESHOLD)
    return (float(low) + float(high)) / 2
