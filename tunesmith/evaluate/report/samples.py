"""Rows worth reading: the most confused pairs of labels, and the answers that tuning changed."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.report import wording
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

__all__ = ["ConfusedPair", "Flip", "Flips", "confused_pairs", "flips"]


class ConfusedPair(NamedTuple):
    """`rows` of `support` rows of `reference` were answered as `predicted` (None: invalid); `texts` shows some."""

    reference: str
    predicted: str | None
    rows: int
    support: int
    texts: tuple[str, ...]


class Flip(NamedTuple):
    """One row that two contestants answered differently, one of them right."""

    text: str
    reference: str
    before: str
    after: str


class Flips(NamedTuple):
    """Rows the subject got right and its rival wrong (`won`), and the other way round (`lost`)."""

    won: tuple[Flip, ...]
    lost: tuple[Flip, ...]


def confused_pairs(
    evaluation: EvaluationReport, contestant: Contestant, limit: int = 8, texts: int = 2
) -> tuple[ConfusedPair, ...]:
    """The most frequent wrong answers, largest first."""
    read = label_reader(evaluation.labels)
    support = {each.label: each.support for each in contestant.classes}
    wrong = [cell for cell in contestant.confusions if cell.predicted != cell.reference][:limit]
    found = []
    for cell in wrong:
        rows = [
            row
            for row in contestant.predictions
            if row.label == cell.predicted and read(row.reference) == cell.reference
        ]
        shown = tuple(_question(evaluation, row) for row in rows[:texts])
        found.append(ConfusedPair(cell.reference, cell.predicted, cell.count, support.get(cell.reference, 0), shown))
    return tuple(found)


def flips(evaluation: EvaluationReport, ours: Contestant, theirs: Contestant) -> Flips:
    """All rows that only one of the two answered right."""
    read = label_reader(evaluation.labels)

    def right(row: Prediction) -> bool:
        expected = read(row.reference)
        return row.answer.strip() == row.reference.strip() if expected is None else row.label == expected

    won: list[Flip] = []
    lost: list[Flip] = []
    for after, before in zip(ours.predictions, theirs.predictions, strict=True):
        if right(after) != right(before):
            flip = Flip(_question(evaluation, after), after.reference, _said(before), _said(after))
            (won if right(after) else lost).append(flip)
    return Flips(tuple(won), tuple(lost))


def _question(evaluation: EvaluationReport, row: Prediction) -> str:
    return wording.shorten(evaluation.questions.get(row.example_id, ""))


def _said(row: Prediction) -> str:
    return row.label or wording.shorten(row.answer, 80) or "(nothing)"
