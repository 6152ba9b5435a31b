"""exact_match: the answer is the reference, character for character, apart from surrounding white space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.reference_texts import compared
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ExactMatch"]


class ExactMatch(Value):
    """Share of rows whose answer equals the reference exactly. Answers 'Fee', 'fee' to 'Fee', 'Fee': 1/2.

    Where an item lists further right answers (`expect.answers`), one of them is as good. Rows that expect no text are
    unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that equal the expected text character for character"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (equal, 1)."""
        return compared(predictions, lambda said, right: said.strip() in {each.strip() for each in right})

    def value(self, totals: Floats) -> Floats:
        """equal / rows."""
        return ratio(totals[..., 0], totals[..., 1])
