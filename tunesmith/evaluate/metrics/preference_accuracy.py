"""preference_accuracy: the model finds the chosen answer likelier than the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.choices import is_pair
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["PreferenceAccuracy"]


class PreferenceAccuracy(Value):
    """Share of pairs whose chosen answer has the higher log-probability; equal ones count as wrong.

    `options` are (chosen, rejected) and `option_logprobs` theirs; with `per_character`, each is divided by its answer's
    length, so that a short answer has no advantage. Pairs without log-probabilities are unscored, and so is
    every other row, however many options it has. Log-probabilities (-3, -4) and (-5, -2): 1/2.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of pairs in which the model finds the preferred answer likelier than the other"

    per_character: bool = False

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (chosen is likelier, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """likelier / pairs."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        known = len(row.options) == len(row.option_logprobs) == 2 and np.isfinite(row.option_logprobs).all()
        if not is_pair(row) or not known:
            return np.nan, np.nan
        lengths = [max(1, len(text)) if self.per_character else 1 for text in row.options]
        chosen, rejected = (logprob / length for logprob, length in zip(row.option_logprobs, lengths, strict=True))
        return float(chosen > rejected), 1.0
