"""exact_match: the answer is the reference, character for character, apart from surrounding white space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.reference_texts import accepted
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ExactMatch"]


class ExactMatch(Value):
    """Share of rows whose answer equals the reference exactly. Answers 'Fee', 'fee' to 'Fee', 'Fee': 1/2.

    Where an item lists further right answers (`expect.answers`), one of them is as good.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that equal the expected text character for character"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (equal, 1). Every row is scored."""
        rows = [(row.answer.strip() in {each.strip() for each in accepted(row)}, 1.0) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """equal / rows."""
        return ratio(totals[..., 0], totals[..., 1])
