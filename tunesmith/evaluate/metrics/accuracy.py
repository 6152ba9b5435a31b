"""accuracy: the answer, read as a label, is the reference label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Accuracy"]


class Accuracy(Value):
    """Share of rows answered with the right label; an invalid answer is wrong. Right, wrong, invalid: 1/3.

    Rows whose reference is none of the known labels are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of rows answered with the right label; an answer that is no label counts as wrong"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right, 1)."""
        read = label_reader(labels)
        references = [read(row.reference) for row in predictions]
        rows = [
            (np.nan, np.nan) if reference is None else (row.label == reference, 1.0)
            for row, reference in zip(predictions, references, strict=True)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])
