"""Judging texts with a moderator."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from tunesmith.serve.api.moderations.protocol import ModerationAnswer, ModerationRequest, ModerationResult
from tunesmith.serve.moderation import CATEGORIES, Moderator, moderator_of

__all__ = ["moderate"]


async def moderate(request: ModerationRequest) -> ModerationAnswer:
    """The verdicts. Raises ApiError 404 for an unknown moderator."""
    name, moderator = moderator_of(request.model)
    found = await moderator.scores(request.texts())
    results = tuple(_result(scores, moderator) for scores in found)
    return ModerationAnswer(id=f"modr-{secrets.token_hex(12)}", model=name, results=results)


def _result(scores: Mapping[str, float], moderator: Moderator) -> ModerationResult:
    whole = {category: scores.get(category, 0.0) for category in CATEGORIES}
    categories = {category: score >= moderator.threshold for category, score in whole.items()}
    return ModerationResult(
        flagged=any(categories.values()),
        categories=categories,
        category_scores=whole,
        category_applied_input_types={category: ("text",) if category in scores else () for category in CATEGORIES},
    )
