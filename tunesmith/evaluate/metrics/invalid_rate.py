"""invalid_rate: the answer is none of the known labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["InvalidRate"]


class InvalidRate(Value):
    """Share of rows whose answer cannot be read as any known label (lower is better).

    Without known labels there is nothing to be invalid against: every row is unscored; and so, as in accuracy, are rows
    whose reference is no known label, such as a suite's items of other types.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that are none of the known labels (lower is better)"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (invalid, 1)."""
        if not labels:
            return np.full((len(predictions), 2), np.nan)
        read = label_reader(labels)
        rows = [(np.nan, np.nan) if read(row.reference) is None else (row.label is None, 1.0) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """invalid / rows."""
        return ratio(totals[..., 0], totals[..., 1])
