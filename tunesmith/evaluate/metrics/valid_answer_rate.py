"""valid_answer_rate: the answer is one of the known labels, or names one of the row's options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.choices import chosen, is_pair
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ValidAnswerRate"]


class ValidAnswerRate(Value):
    """Share of answers that can be read as one of those asked for, right or wrong.

    A known label where the reference is one (1 - `invalid_rate`), else an option of a multiple choice, read strictly.
    Answers to rows with neither cannot be invalid: they are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that are one of those asked for: a known label, or an option"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (valid, 1)."""
        read = label_reader(labels)
        rows = [_row(row, read(row.reference) is not None) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """valid / rows."""
        return ratio(totals[..., 0], totals[..., 1])


def _row(row: Prediction, labelled: bool) -> tuple[float, float]:
    if not labelled and (not row.options or is_pair(row)):
        return np.nan, np.nan
    return float((row.label if labelled else chosen(row)) is not None), 1.0
