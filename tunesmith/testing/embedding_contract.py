"""What every inference engine that embeds must do, in the form of `tunesmith.testing.engine_contract`."""

from __future__ import annotations

import asyncio
import math

from tunesmith.errors import RequestRefused, RequestTooLong
from tunesmith.testing.engine_subject import Subject, answer

__all__ = ["EMBEDDING_CHECKS", "embeddings_are_unit_vectors_of_their_text"]

_TOLERANCE = 1e-3  # float32


async def embeddings_are_unit_vectors_of_their_text(subject: Subject) -> None:
    """One length for all, norm 1, the same text the same vector beside answers too, another text another vector."""
    first, second = subject.prompts[:2]
    alone = await subject.engine.embed(first, None)
    beside, other, _ = await asyncio.gather(
        subject.engine.embed(first, None), subject.engine.embed(second, None), answer(subject, second)
    )
    assert len(alone) == len(other) > 1
    assert abs(math.hypot(*alone) - 1.0) < _TOLERANCE
    assert all(abs(old - new) < _TOLERANCE for old, new in zip(alone, beside, strict=True))
    assert sum(a * b for a, b in zip(alone, other, strict=True)) < 1.0 - 1e-6
    for ids, kind in (
        (first * (subject.engine.context_length // len(first) + 1), RequestTooLong),
        ((), RequestRefused),
    ):
        try:
            await subject.engine.embed(ids, None)
        except kind:
            continue
        raise AssertionError(f"expected {kind.__name__}")


EMBEDDING_CHECKS = (embeddings_are_unit_vectors_of_their_text,)
