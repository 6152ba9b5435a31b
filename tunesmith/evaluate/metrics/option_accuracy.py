"""option_accuracy: the right option is the one that the model finds most likely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.choices import right_choice
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["OptionAccuracy"]


class OptionAccuracy(Value):
    """Share of multiple choices whose right option has the highest log-likelihood after the question.

    `normalise` divides an option's log-likelihood by its length first, so that long options are not at a disadvantage:
    by UTF-8 bytes or by tokens (lm-evaluation-harness' acc is `none`, its acc_norm `bytes` where texts are ASCII).
    Options at -2, -3 of 2, 6 bytes: the first is chosen by none, the second (-1/2 > -1) by bytes. A tie is wrong. Rows
    without the log-likelihood of every option, or without a right one, are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of multiple choices whose right option the model finds the most likely"

    normalise: Literal["none", "bytes", "tokens"] = "none"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right, 1). Raises EvaluationError when tokens are wanted of a server that does not count them."""
        rows = [self._row(row) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        right = right_choice(row)
        known = len(row.option_logprobs) == len(row.options) and all(map(math.isfinite, row.option_logprobs))
        if right is None or not known:
            return np.nan, np.nan
        likely = [score / length for score, length in zip(row.option_logprobs, self._lengths(row), strict=True)]
        best = max(likely)
        return float(likely[right] == best and likely.count(best) == 1), 1.0

    def _lengths(self, row: Prediction) -> Sequence[int]:
        if self.normalise == "bytes":
            return [max(1, len(option.encode())) for option in row.options]
        if self.normalise == "none":
            return [1] * len(row.options)
        if len(row.option_tokens) != len(row.options):
            raise EvaluationError(
                f"The options of row {row.example_id} have no token counts to normalise by.",
                hint="Use normalise: bytes, which every server allows.",
            )
        return [max(1, tokens) for tokens in row.option_tokens]
