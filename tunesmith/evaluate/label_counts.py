"""What precision, recall, F1 and balanced accuracy count: per label, how often it was right, wanted and answered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from tunesmith.errors import NotFound, nearest
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Average", "Counts", "OfLabels", "averaged", "counts_of", "label_terms"]

Average = Literal["micro", "macro", "weighted"]


class Counts(NamedTuple):
    """[..., C] for C labels: right answers, rows whose reference it is, rows answered with it."""

    hits: Floats
    references: Floats
    answers: Floats


def label_terms(predictions: Sequence[Prediction], labels: Sequence[str], only: str = "") -> Floats:
    """[N, 3 C]: hit, reference and answer indicators of each label; of the label `only` alone where it is given.

    An invalid answer is a miss of its reference and an answer of no label. Rows whose reference is no known label are
    NaN. Raises NotFound when `only` is none of the labels.
    """
    if only and only not in labels and len(labels):
        close = nearest(only, tuple(labels))
        hint = (f"Did you mean {close!r}? " if close else "") + f"Known: {', '.join(labels)}"
        raise NotFound(f"There is no label {only!r} to measure.", hint=hint)
    read = label_reader(labels)
    place = {label: index for index, label in enumerate((only,) if only else dict.fromkeys(labels))}
    terms = np.zeros((len(predictions), 3, max(1, len(place))))
    for row, prediction in enumerate(predictions):
        reference = read(prediction.reference)
        if reference is None:
            terms[row] = np.nan
            continue
        if reference in place:
            terms[row, 1, place[reference]] = 1.0
            terms[row, 0, place[reference]] = float(prediction.label == reference)
        if prediction.label in place:
            terms[row, 2, place[prediction.label]] = 1.0
    return terms.reshape(len(predictions), 3 * max(1, len(place)))


def counts_of(totals: Floats) -> Counts:
    """The counts in totals [..., 3 C] of `label_terms`."""
    hits, references, answers = np.split(totals, 3, axis=-1)
    return Counts(hits, references, answers)


def averaged(counts: Counts, numerator: Floats, denominator: Floats, average: Average) -> Floats:
    """One figure over labels of numerator / denominator [..., C], 0 for a label whose denominator is 0.

    macro: the mean over the labels that occur as a reference or an answer; weighted: over all, weighted by how often
    each is the reference; micro: all numerators over all denominators. As scikit-learn with `zero_division=0`. NaN
    where no label occurs.
    """
    occurs = counts.references + counts.answers > 0
    some = occurs.any(axis=-1)
    if average == "micro":
        below = denominator.sum(axis=-1)
        found = np.where(below > 0, ratio(numerator.sum(axis=-1), below), 0.0)
        return np.where(some, found, np.nan)
    each = np.where(denominator > 0, ratio(numerator, denominator), 0.0)
    if average == "macro":
        return ratio(np.where(occurs, each, 0.0).sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))
    weights = counts.references.sum(axis=-1)
    found = np.where(weights > 0, ratio((each * counts.references).sum(axis=-1), weights), 0.0)
    return np.where(some, found, np.nan)


class OfLabels(Value):
    """A metric that is a ratio of counts for each label, averaged over labels; `only` measures one label alone."""

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"

    average: Average = "macro"
    only: str = ""

    @abstractmethod
    def parts(self, counts: Counts) -> tuple[Floats, Floats]:
        """Numerator and denominator of each label's figure."""

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 3 C] for C labels: hit, reference and answer indicators of each label."""
        return label_terms(predictions, labels, self.only)

    def value(self, totals: Floats) -> Floats:
        """The figure of the labels, averaged."""
        counts = counts_of(totals)
        return averaged(counts, *self.parts(counts), self.average)
