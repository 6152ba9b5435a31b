"""macro_f1: F1 of every label, averaged with equal weight, so that rare labels count as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
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
        read = label_reader(labels)
        place = {label: index for index, label in enumerate(dict.fromkeys(labels))}
        terms = np.zeros((len(predictions), 3, max(1, len(place))))
        for row, prediction in enumerate(predictions):
            reference = read(prediction.reference)
            if reference is None:
                terms[row] = np.nan
                continue
            terms[row, 1, place[reference]] = 1.0
            if prediction.label is not None:
                terms[row, 2, place[prediction.label]] = 1.0
                terms[row, 0, place[reference]] = float(prediction.label == reference)
        return terms.reshape(len(predictions), 3 * max(1, len(place)))

    def value(self, totals: Floats) -> Floats:
        """Mean F1 over the labels that occur."""
        hits, references, answers = np.split(totals, 3, axis=-1)
        occurs = references + answers > 0
        f1 = np.where(occurs, ratio(2.0 * hits, references + answers), 0.0)
        return ratio(f1.sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))
