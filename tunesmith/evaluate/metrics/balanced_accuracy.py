"""balanced_accuracy: accuracy in which every label counts the same, however rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.label_counts import Counts, Shares, counts_of, label_terms, shares_of
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["BalancedAccuracy"]


class BalancedAccuracy(Value):
    """Mean over the labels that are some row's reference of right answers / rows of the label.

    References a, a, a, b answered a, a, a, a: (1 + 0) / 2, where accuracy is 3/4. As scikit-learn's
    `balanced_accuracy_score`; rows whose reference is no known label are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of right answers of each label, averaged with every label counting the same"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 3 C] for C labels: hit, reference and answer indicators of each label."""
        return label_terms(predictions, labels)

    def value(self, totals: Floats) -> Floats:
        """Mean of hits / references over the labels that occur as a reference."""
        counts = counts_of(totals)
        occurs = counts.references > 0
        recalls = np.where(occurs, ratio(counts.hits, counts.references), 0.0)
        return ratio(recalls.sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))

    def by_label(self, terms: Floats) -> Shares:
        """The recall of each label that occurs as a reference in the rows of `terms`."""
        hits, references, _ = counts_of(terms)
        return shares_of(Counts(hits, references, references), hits, references, "macro")
