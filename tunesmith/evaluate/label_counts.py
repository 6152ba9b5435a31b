"""What precision, recall, F1 and balanced accuracy count: per label, how often it was right, wanted and answered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tunesmith.errors import NotFound, nearest
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Average", "Averaged", "Counts", "OfLabels", "Shares", "averaged", "counts_of", "label_terms", "shares_of"]

Average = Literal["micro", "macro", "weighted"]


class Counts(NamedTuple):
    """[..., C] for C labels: right answers, rows whose reference it is, rows answered with it."""

    hits: Floats
    references: Floats
    answers: Floats


class Shares(NamedTuple):
    """What a figure over C labels averages: numerators and denominators [N, C] of N rows, the labels' weights [C].

    The figure is the weighted mean of sums of numerators / sums of denominators. `of_two`: the denominator counts rows
    of the label and answers of it, so that a right answer counts twice (F1).
    """

    numerators: Floats
    denominators: Floats
    weights: Floats
    of_two: bool = False


@runtime_checkable
class Averaged(Protocol):
    """A metric that is averaged over labels, each of which only some rows carry."""

    def by_label(self, terms: Floats) -> Shares:
        """What the figure over the rows of `terms` [N, K] averages."""


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


def shares_of(counts: Counts, numerator: Floats, denominator: Floats, average: Average) -> Shares:
    """The shares [N, C] that `averaged` joins, of the counts of N rows; one share of all labels for micro."""
    if average == "micro":
        return Shares(numerator.sum(axis=1, keepdims=True), denominator.sum(axis=1, keepdims=True), np.ones(1))
    references, answers = counts.references.sum(axis=0), counts.answers.sum(axis=0)
    weights = references if average == "weighted" else (references + answers > 0).astype(np.float64)
    return Shares(numerator, denominator, weights / max(1.0, float(weights.sum())))


class OfLabels(Value):
    """A metric that is a ratio of counts for each label, averaged over labels; `only` measures one label alone."""

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    of_two: ClassVar[bool] = False
    """Whether the denominator counts rows of a label and answers of it (see `Shares`)."""

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

    def by_label(self, terms: Floats) -> Shares:
        """The labels' own figures over the rows of `terms`."""
        counts = counts_of(terms)
        return shares_of(counts, *self.parts(counts), self.average)._replace(of_two=self.of_two)
