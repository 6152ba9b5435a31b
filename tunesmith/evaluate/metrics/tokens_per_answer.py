"""tokens_per_answer: how long answers are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["TokensPerAnswer"]


class TokensPerAnswer(Value):
    """Mean tokens of an answer as the server counts them: what is paid and waited for. 10, 20 and 60 tokens: 30.

    Read it next to a metric of quality: the shortest answer is none.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "tokens of an answer on average (lower is better where the answers are as good)"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (tokens, 1)."""
        return np.array([(row.tokens, 1.0) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """tokens / rows."""
        return ratio(totals[..., 0], totals[..., 1])
