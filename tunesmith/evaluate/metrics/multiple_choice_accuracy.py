"""multiple_choice_accuracy: the right option is chosen, by log-likelihood or by the letter that is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tunesmith.evaluate.choices import is_pair
from tunesmith.evaluate.labels import normalise
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["MultipleChoiceAccuracy"]

_LETTER = re.compile(r"\W*(?:option\s+|answer:?\s*)?\(?([A-Z])(?:[).:,*\n]|$)", re.IGNORECASE)
_STATED = re.compile(
    r"\b(?i:answer|option|choice)\b\s*(?:(?i:is)\b|:)?\s*:?\s*\W{0,3}([A-Zb-z]|a(?=\W*$|[).:,;*]))\b(?!')"
)
"""a small `a` before another word is an article: 'the answer is a bear' states no letter"""


class MultipleChoiceAccuracy(Value):
    """Share of rows whose right option is chosen.

    `by: logprob`: the option with the highest log-probability is the reference; of equal ones, the first is taken.
    `by: answer`: the written answer begins with the right letter ("B", "(b)", "B. Paris"), states it ("The answer is
    B"), or is the right option's text; whatever names no option is wrong. `by: any` takes log-probabilities where a row
    has them. Rows without options and preference pairs are unscored. Log-probabilities (-1, -2) and (-3, -1), each with
    A right: 1/2.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of questions whose right option the model chooses"

    by: Literal["any", "logprob", "answer"] = "any"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        known = len(row.option_logprobs) == len(row.options) and not np.isnan(row.option_logprobs).any()
        if row.reference not in row.options or is_pair(row) or (self.by == "logprob" and not known):
            return np.nan, np.nan
        if known and self.by != "answer":
            return float(row.options[int(np.argmax(row.option_logprobs))] == row.reference), 1.0
        return float(_chosen(row) == row.options.index(row.reference)), 1.0


def _chosen(row: Prediction) -> int | None:
    """Place of the option that the answer names; None when it names none."""
    choices = row.expect.get("choices")
    texts = [str(text) for text in choices] if isinstance(choices, list) else list(row.options)
    answer = row.answer.strip()
    same = [place for place, text in enumerate(texts) if normalise(text) == normalise(answer)]
    if len(same) == 1:
        return same[0]
    first = _LETTER.match(answer)
    named = [first] if first else _STATED.finditer(answer)
    places = (ord(found.group(1).upper()) - ord("A") for found in named)
    return next((place for place in places if place < len(texts)), None)
