"""bits_per_byte: how surprised the model is by the expected answers, per byte of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["BitsPerByte"]


class BitsPerByte(Value):
    """-(sum of log2-probabilities of the references) / (sum of their UTF-8 bytes).

    Unlike perplexity it compares models of different tokenizers (Gao et al. 2020, The Pile, section 3.1): ln(1/16) for
    'ab' and ln(1/4) for 'cdef' are (4 + 2) / (2 + 4) = 1 bit. Rows are weighted by their length. Rows without a
    (finite) reference log-probability, or without a text, are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = (
        "bits of surprise per byte of the expected answer, whatever the tokenizer (lower is better)"
    )

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (log-probability of the reference, its UTF-8 bytes)."""
        rows = [
            (row.reference_logprob, len(row.reference.encode()))
            if row.reference_logprob is not None and math.isfinite(row.reference_logprob) and row.reference
            else (np.nan, np.nan)
            for row in predictions
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """Negative log-probability / ln 2 per byte."""
        return -ratio(totals[..., 0], totals[..., 1]) / math.log(2.0)
