"""hallucination_rate: the answer says something that its contexts do not support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.grounding import Grounding
from tunesmith.evaluate.metric import Answered, Floats, ratio
from tunesmith.grade.judge import Judge
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["HallucinationRate"]


class HallucinationRate(Grounding):
    """Share of answers with at least one sentence that is not supported (see groundedness, whose options these are).

    Rows without `expect.contexts` are unscored, and so are answers that the model could not judge. Supported sentences
    1 of 2, 3 of 3: 1/2.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers with a sentence that the given contexts do not support (lower is better)"

    async def grade(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """The share of supported sentences for each answer: by the model when one is named, else by words."""
        return await self.judged(answered, judge)

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (has an unsupported sentence, 1)."""
        shares = self.shares(self, predictions)
        rows = [(np.nan, np.nan) if share is None else (float(share < 1.0), 1.0) for share in shares]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """answers with an unsupported sentence / answers."""
        return ratio(totals[..., 0], totals[..., 1])
