"""normalised_match: the answer is the reference, apart from case, punctuation, articles and white space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.reference_texts import accepted, normalised
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["NormalisedMatch"]


class NormalisedMatch(Value):
    """Share of rows whose answer equals the reference, or one of `expect.answers`, by SQuAD's rule.

    See `evaluate.reference_texts.normalised`. Answers 'The fee.', 'a charge' to 'Fee', 'Fee': 1/2. An answer of which
    the rule leaves nothing is wrong, unless the answer and the reference are the same text.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that equal the expected text apart from case, punctuation and articles"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (equal, 1). Every row is scored."""
        rows = [(_matches(row), 1.0) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """equal / rows."""
        return ratio(totals[..., 0], totals[..., 1])


def _matches(row: Prediction) -> bool:
    right, said = accepted(row), normalised(row.answer)
    return row.answer.strip() in {each.strip() for each in right} or (bool(said) and said in map(normalised, right))
