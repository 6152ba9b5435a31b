"""Grading: what metrics need besides the rows (a judging model, a sandbox) is done once, when the answers are there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from tunesmith.evaluate.answer_store import AnswerStore, Kept
from tunesmith.evaluate.metric import Answered, Graded, grade_key, load_metric
from tunesmith.grade.judge import Judge
from tunesmith.types.base import digest_json
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction
from tunesmith.types.suite import Item

__all__ = ["graded"]

_AT_A_TIME = 64


async def graded(
    metrics: Sequence[MetricSpec],
    items: Sequence[Item],
    predictions: Sequence[Prediction],
    judge: Judge | None,
    answers: AnswerStore | None,
) -> tuple[Prediction, ...]:
    """The predictions with the grades of every metric that grades; rows without an answer have none.

    Grades are kept in `answers` by the metric's options, the weights that it grades with and the answer's content; an
    answer that could not be graded is tried again next time. Raises EvaluationError when a metric cannot work at all.
    """
    rows = list(predictions)
    for spec in metrics:
        metric = load_metric(spec)
        if not isinstance(metric, Graded):
            continue
        key = grade_key(metric)
        with _kept(metric, answers) as kept:
            places = [place for place, row in enumerate(rows) if not row.error]
            for start in range(0, len(places), _AT_A_TIME):
                some = places[start : start + _AT_A_TIME]
                answered = [Answered(items[place], rows[place]) for place in some]
                for place, grade in zip(some, await _grades(metric, answered, judge, kept), strict=True):
                    rows[place] = rows[place].model_copy(update={"grades": {**rows[place].grades, key: grade}})
    return tuple(rows)


def _kept(metric: Graded, answers: AnswerStore | None) -> AbstractContextManager[Kept | None]:
    """The grades by the metric's options, and by the weights that it grades with where it has a `weights_digest`."""
    if answers is None:
        return nullcontext(None)
    weights = getattr(metric, "weights_digest", lambda: "")()
    return answers.of({"metric": grade_key(metric), **({"weights": weights} if weights else {})})


async def _grades(
    metric: Graded, answered: Sequence[Answered], judge: Judge | None, kept: Kept | None
) -> list[float | None]:
    """A grade for each, from `kept` where it is there."""
    if kept is None:
        return await metric.grade(answered, judge)
    keys = [_content(each) for each in answered]
    known: dict[str, float | None] = {key: kept.get(key) for key in keys}
    missing = {key: each for key, each in zip(keys, answered, strict=True) if known[key] is None}
    if missing:
        for key, grade in zip(missing, await metric.grade(list(missing.values()), judge), strict=True):
            known[key] = grade
            if grade is not None:
                kept.put(key, grade)
    return [known[key] for key in keys]


def _content(answered: Answered) -> str:
    """The digest of all that a grade depends on: the item and the answer, not how long it took."""
    item, row = answered
    asked = item.model_dump(mode="json", exclude={"id": True, "tags": True, "group": True, "expect": {"human"}})
    said = {"answer": row.answer, "calls": row.calls, "samples": row.samples}
    return digest_json([asked, said])
