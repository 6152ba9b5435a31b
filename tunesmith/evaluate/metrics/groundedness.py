"""groundedness: the share of an answer's sentences that its contexts support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.grounding import Grounding
from tunesmith.evaluate.metric import Answered, Floats, ratio
from tunesmith.grade.judge import Judge
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Groundedness"]


class Groundedness(Grounding):
    """Mean over answers of supported sentences / sentences.

    By shared words (`overlap`), which is a rough check and no judgement of meaning; with `model`, by that model, where
    an answer with a sentence that could not be judged is unscored. Rows without `expect.contexts` are unscored; an
    answer without a sentence asserts nothing and counts as 1. Supported 1 of 2 and 1 of 1: 3/4.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of an answer's sentences that the given contexts support (by words, or by a judge)"

    async def grade(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """The share for each answer: by the model when one is named, else by words."""
        return await self.judged(answered, judge)

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (share, 1)."""
        shares = self.shares(self, predictions)
        rows = [(np.nan, np.nan) if share is None else (share, 1.0) for share in shares]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """Mean share."""
        return ratio(totals[..., 0], totals[..., 1])
