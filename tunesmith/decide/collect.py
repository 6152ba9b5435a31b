"""Which rows to collect next: where the errors are, and where there is little to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunesmith.decide.evidence import Collect, Curve
from tunesmith.types.report import Contestant

__all__ = ["more_rows_help", "rows_to_collect"]

MOST = 5
THIN = 0.5
FEW = 10


def rows_to_collect(contestant: Contestant, train_labels: Sequence[str], labels: Sequence[str]) -> tuple[Collect, ...]:
    """Kinds of rows by which `contestant` (the best one so far) would gain, from its errors on the validation rows and
    the answers of the training rows. Nothing for tasks without labels.
    """
    if not labels:
        return ()
    return (*_weak(contestant), *_confused(contestant), *_invalid(contestant), *_thin(train_labels, labels))


def more_rows_help(curve: Curve | None) -> str:
    """What the curve says of collecting at all, in one sentence ('' when it says nothing)."""
    if curve is None or curve.full is None or curve.twice is None:
        return ""
    gain = curve.twice.value - curve.full.value
    return f"twice as many rows of the same kind would add about {100 * gain:.1f} points"


def _weak(contestant: Contestant) -> list[Collect]:
    """The labels that account for most wrong answers."""
    missed = Counter({each.label: round(each.support * (1 - each.recall)) for each in contestant.classes})
    total = sum(missed.values())
    return [
        Collect(kind=f"rows of “{label}”", why=f"{count} of the {total} wrong answers on the validation rows are here")
        for label, count in missed.most_common(MOST)
        if count > 1
    ]


def _confused(contestant: Contestant) -> list[Collect]:
    """Pairs of labels that are taken for each other, both directions together."""
    pairs: Counter[tuple[str, str]] = Counter()
    for cell in contestant.confusions:
        if cell.predicted is not None and cell.predicted != cell.reference:
            first, second = sorted((cell.reference, cell.predicted))
            pairs[first, second] += cell.count
    return [
        Collect(kind=f"rows that tell “{one}” from “{other}”", why=f"taken for each other {count} times")
        for (one, other), count in pairs.most_common(MOST)
        if count > 1
    ]


def _invalid(contestant: Contestant) -> list[Collect]:
    wrong = sum(row.label is None for row in contestant.predictions)
    share = wrong / len(contestant.predictions)
    if share < 0.05:
        return []
    why = f"{wrong} of {len(contestant.predictions)} answers are none of the labels"
    return [Collect(kind="rows that show the form of the answer", why=why)]


def _thin(train_labels: Sequence[str], labels: Sequence[str]) -> list[Collect]:
    """Labels with few training rows: fewer than ten, or than half of what a label has on average."""
    counts = Counter(train_labels)
    usual = len(train_labels) / len(labels)
    thin = sorted((counts[label], label) for label in labels if counts[label] < max(FEW, THIN * usual))
    return [
        Collect(kind=f"rows of “{label}”", why=f"{count} training rows, {usual:.0f} are usual")
        for count, label in thin[:MOST]
    ]
