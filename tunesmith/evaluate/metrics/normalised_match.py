"""normalised_match: the answer is the reference, apart from case, punctuation, articles and white space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.reference_texts import compared, normalised
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["NormalisedMatch"]


class NormalisedMatch(Value):
    """Share of rows whose answer equals the reference, or one of `expect.answers`, by SQuAD's rule.

    See `evaluate.reference_texts.normalised`. Answers 'The fee.', 'a charge' to 'Fee', 'Fee': 1/2. An answer of which
    the rule leaves nothing is wrong, unless the answer and the reference are the same text. Rows that expect no
    text are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that equal the expected text apart from case, punctuation and articles"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (equal, 1)."""
        return compared(predictions, _matches)

    def value(self, totals: Floats) -> Floats:
        """equal / rows."""
        return ratio(totals[..., 0], totals[..., 1])


def _matches(answer: str, right: tuple[str, ...]) -> bool:
    said = normalised(answer)
    return answer.strip() in {each.strip() for each in right} or (bool(said) and said in map(normalised, right))
