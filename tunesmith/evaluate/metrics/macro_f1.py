"""macro_f1: F1 of every label, averaged with equal weight, so that rare labels count as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tunesmith.evaluate.label_counts import Shares, averaged, counts_of, label_terms, shares_of
from tunesmith.evaluate.metric import Floats
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["MacroF1"]


class MacroF1(Value):
    """Unweighted mean over labels of F1 = 2 hits / (rows of the label + answers of the label).

    Labels that occur neither as reference nor as answer are left out, as in scikit-learn's `f1_score(average="macro")`;
    an invalid answer is a miss of its reference and an answer of no label. Rows whose reference is no known label
    are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "F1 (balance of false alarms and misses) averaged over labels, rare ones counting fully"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 3 C] for C labels: hit, reference and answer indicators of each label."""
        return label_terms(predictions, labels)

    def value(self, totals: Floats) -> Floats:
        """Mean F1 over the labels that occur."""
        counts = counts_of(totals)
        return averaged(counts, 2.0 * counts.hits, counts.references + counts.answers, "macro")

    def by_label(self, terms: Floats) -> Shares:
        """The F1 of each label that occurs in the rows of `terms`."""
        counts = counts_of(terms)
        found = shares_of(counts, 2.0 * counts.hits, counts.references + counts.answers, "macro")
        return found._replace(of_two=True)
