"""tokens_per_second: how fast answers are written, as one request sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["TokensPerSecond"]


class TokensPerSecond(Value):
    """All tokens of the answers / all seconds that they took, from request to end; long answers weigh more.

    10 tokens in 1 s and 50 tokens in 2 s: 20. It is the speed of one answer beside the others in flight, not the
    server's throughput. Rows without tokens or without a time are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "tokens that one request receives per second, the wait for the first included"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (tokens, seconds)."""
        rows = [
            (row.tokens, row.seconds) if row.tokens > 0 and row.seconds > 0.0 else (np.nan, np.nan)
            for row in predictions
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """tokens / seconds."""
        return ratio(totals[..., 0], totals[..., 1])
