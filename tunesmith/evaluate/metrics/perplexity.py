"""perplexity: how surprised the model is by the expected answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Perplexity"]


class Perplexity(Value):
    """exp(-(sum of log-probabilities of the reference tokens) / (number of reference tokens)), token-weighted.

    Log-probabilities ln(1/2) over 1 token and ln(1/8) over 1 token give exp((ln 2 + ln 8) / 2) = 4. Rows without a
    (finite) reference log-probability are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (1.0, math.inf)
    meaning: ClassVar[str] = "surprise per token of the expected answer; 1 is certain (lower is better)"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (log-probability of the reference, its tokens)."""
        rows = [
            (row.reference_logprob, row.reference_tokens)
            if row.reference_logprob is not None and math.isfinite(row.reference_logprob) and row.reference_tokens > 0
            else (np.nan, np.nan)
            for row in predictions
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """exp of the mean negative log-probability per token."""
        return np.exp(-ratio(totals[..., 0], totals[..., 1]))
