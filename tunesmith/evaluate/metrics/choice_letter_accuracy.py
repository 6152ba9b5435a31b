"""choice_letter_accuracy: the written answer names the right option of a multiple choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.choices import chosen, right_choice
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ChoiceLetterAccuracy"]


class ChoiceLetterAccuracy(Value):
    """Share of multiple choices whose written answer names the right option; one that names none is wrong.

    Answers are read strictly (`evaluate.choices.chosen`): 'B', '(b)', 'B. Paris', 'Paris', but not 'I think B'. Rows
    without options, or without a right one, are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of multiple choices whose written answer names the right option, read strictly"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right, 1)."""
        rights = [right_choice(row) for row in predictions]
        rows = [
            (np.nan, np.nan) if right is None else (chosen(row) == right, 1.0)
            for row, right in zip(predictions, rights, strict=True)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])
