"""Server-sent events of an answer: how one is written, and what happens when an answer breaks half way."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from tunesmith.errors import TunesmithError
from tunesmith.serve.failures import ApiError, as_api_error

__all__ = ["data", "failure_of", "guarded", "started"]

_log = logging.getLogger(__name__)


def data(text: str) -> str:
    """One event."""
    return f"data: {text}\n\n"


def failure_of(error: Exception) -> ApiError:
    """What a client is told, who has no status code any more; errors that are not ours are logged."""
    if isinstance(error, TunesmithError):
        return as_api_error(error)
    _log.error("a streamed answer broke", exc_info=error)
    return ApiError(500, f"Internal error: {type(error).__name__}.", kind="server_error")


async def guarded(events: AsyncGenerator[str, None], opened: AsyncExitStack) -> AsyncGenerator[str, None]:
    """`events`, and when they break an event with the error; `opened` is closed at the end or when this is closed."""
    async with opened:
        yield ""
        async with aclosing(events):
            try:
                async for event in events:
                    yield event
            except Exception as error:  # noqa: BLE001 - told to the client, and logged
                body: dict[str, Any] = failure_of(error).body()
                yield data(json.dumps(body))


async def started(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """`events`, run up to its first (empty) one, so that closing it always releases what was opened for it."""
    await anext(events)
    return events
