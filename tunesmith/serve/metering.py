"""The engine as the endpoints see it: it counts what it is asked, and takes no more than it can hold."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from tunesmith.engine.engine import Engine, GenerationRequest, ScoredToken, TokenEvent
from tunesmith.serve.failures import ApiError
from tunesmith.serve.trail import TRAIL, Trail

__all__ = ["Pending", "metered"]


class Pending:
    """How many generations are under way or waiting; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def require_room(self) -> None:
        """Raise ApiError 429 when there is no room for one more."""
        if self.count >= self.limit:
            raise ApiError(
                429,
                f"The server is busy: {self.count} answers are under way, as many as it takes. Try again soon.",
                kind="rate_limit_error",
                code="server_busy",
                headers={"retry-after": "1"},
            )


def metered(engine: Engine, pending: Pending) -> Engine:
    """`engine`, with its generations counted in `pending` and on the trail of the request that asks."""
    return cast(Engine, _Metered(engine, pending))


class _Metered:
    def __init__(self, engine: Engine, pending: Pending) -> None:
        self._engine = engine
        self._pending = pending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)  # everything but what is counted is the engine's own

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream one answer; see `Engine.submit`. Raises ApiError 429 when too many are waiting."""
        self._pending.require_room()
        trail = TRAIL.get()
        inner = self._engine.submit(request)
        if trail is not None:
            trail.prompted(request.prompt_ids)
        self._pending.count += 1
        place = _Place(self._pending)
        stream = _counted(inner, trail, place)
        # A stream that nobody ever reads does not reach its end, but goes away.
        weakref.finalize(stream, place.leave).atexit = False
        return stream

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """See `Engine.score`."""
        return tuple(one.logprob for one in await self.score_with_top(prompt_ids, answer_ids, adapter, 0))

    async def score_with_top(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None, top: int
    ) -> tuple[ScoredToken, ...]:
        """See `Engine.score_with_top`."""
        trail = TRAIL.get()
        if trail is not None:
            trail.prompted((*prompt_ids, *answer_ids))
        return await self._engine.score_with_top(prompt_ids, answer_ids, adapter, top)

    async def embed(self, prompt_ids: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        """See `Engine.embed`."""
        trail = TRAIL.get()
        if trail is not None:
            trail.prompted(prompt_ids)
        return await self._engine.embed(prompt_ids, adapter)


class _Place:
    """One of the pending; left once."""

    def __init__(self, pending: Pending) -> None:
        self._pending: Pending | None = pending

    def leave(self) -> None:
        if self._pending is not None:
            self._pending.count -= 1
            self._pending = None


async def _counted(stream: AsyncIterator[TokenEvent], trail: Trail | None, place: _Place) -> AsyncIterator[TokenEvent]:
    tokens = 0
    try:
        async with aclosing(cast(Any, stream)) as events:
            async for event in events:
                tokens += 1
                yield event
    finally:
        place.leave()
        if trail is not None:
            trail.answered(tokens)
