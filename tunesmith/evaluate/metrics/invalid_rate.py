"""invalid_rate: the answer is none of the known labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["InvalidRate"]


class InvalidRate(Value):
    """Share of rows whose answer cannot be read as any known label (lower is better).

    Without known labels there is nothing to be invalid against: every row is unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that are none of the known labels (lower is better)"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (invalid, 1)."""
        if not labels:
            return np.full((len(predictions), 2), np.nan)
        rows = [(row.label is None, 1.0) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """invalid / rows."""
        return ratio(totals[..., 0], totals[..., 1])
