"""Whether a judging model gives answers the points that people gave them: a judge is judged before it is believed.

Items carry answers with the points of a person (`expect.human`). The suite's judges are asked for points of these very
answers, besides those of the models under test, and both are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.grading import graded
from tunesmith.evaluate.metric import grade_key, load_metric
from tunesmith.evaluate.metrics.judge import Judge
from tunesmith.grade.agreement import cohen_kappa, krippendorff_alpha
from tunesmith.grade.judge import Judge as Judging
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import JudgeAgreement, Prediction
from tunesmith.types.suite import HumanGrade, Item

__all__ = ["Graded", "agreement", "agreements", "human_grades", "unfit_grades"]


class Graded(NamedTuple):
    """An answer to `item` and the points that a person gave it."""

    item: Item
    human: HumanGrade


def human_grades(items: Sequence[Item]) -> tuple[Graded, ...]:
    """All answers of the items that people gave points."""
    return tuple(
        Graded(item, HumanGrade.model_validate(each))
        for item in items
        if isinstance(given := item.expect.get("human"), list)
        for each in given
    )


def unfit_grades(metrics: Sequence[MetricSpec], given: Sequence[Graded]) -> Iterator[str]:
    """What keeps a judge from being compared with people: nobody judges, or points that it cannot give."""
    judges = list(_judges(metrics))
    if given and not judges:
        yield "items have grades by people (`human`), and no metric `judge` is there to be compared with them"
    for spec, judge in judges:
        for item, human in given:
            if not judge.low <= human.grade <= judge.high:
                scale = f"{spec.title} gives points from {judge.low:g} to {judge.high:g}"
                yield f"{scale}, and a person gave {human.grade:g} to an answer of item {item.id!r}"


async def agreements(
    metrics: Sequence[MetricSpec], items: Sequence[Item], judge: Judging | None, answers: AnswerStore | None
) -> tuple[JudgeAgreement, ...]:
    """The agreement of every judge among the metrics with the people's points; none where there are no such points.

    Points are kept in `answers` as those of any answer. Raises EvaluationError when a judge cannot be asked.
    """
    given = human_grades(items)
    found = []
    for spec, metric in _judges(metrics) if given else ():
        rows = await graded([spec], [each.item for each in given], [_row(each) for each in given], judge, answers)
        points = [row.grades.get(grade_key(metric)) for row in rows]
        found.append(agreement(spec.title, metric.model, [each.human.grade for each in given], points))
    return tuple(found)


def agreement(title: str, model: str, human: Sequence[float], points: Sequence[float | None]) -> JudgeAgreement:
    """How far the judge's points agree with the people's, answer by answer."""
    pairs = [(person, given) for person, given in zip(human, points, strict=True) if given is not None]
    kappa = cohen_kappa(pairs)
    return JudgeAgreement(
        metric=title,
        judge=model,
        n=len(pairs),
        unscored=len(points) - len(pairs),
        equal=kappa.equal,
        kappa=kappa.value,
        standard_error=kappa.standard_error,
        alpha=krippendorff_alpha(pairs, "interval"),
    )


def _judges(metrics: Sequence[MetricSpec]) -> Iterator[tuple[MetricSpec, Judge]]:
    for spec in metrics:
        metric = load_metric(spec)
        if isinstance(metric, Judge):
            yield spec, metric


def _row(given: Graded) -> Prediction:
    """The answer as if a model had given it."""
    return Prediction(
        example_id=given.item.id,
        reference=given.item.reference,
        answer=given.human.answer,
        label=None,
        tokens=0,
        seconds=0.0,
        first_token_seconds=0.0,
        finish_reason="stop",
    )
