"""Work for a client who may go away: then the work is cancelled, and with it the generation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream", "answer_or_gone", "while_connected"]

# What nginx logs for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499

Result = TypeVar("Result")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; cancels it and raises ClientDisconnect when the client goes away first."""
    caller = asyncio.current_task()
    assert caller is not None
    working, left = True, False

    def leave(_: asyncio.Task[None]) -> None:
        nonlocal left
        if working and not left:
            left = True
            caller.cancel()

    watcher = asyncio.create_task(_gone(receive))
    watcher.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and caller.cancelling() == 1:
            raise ClientDisconnect from None
        raise  # the caller itself is stopped
    finally:
        working = False
        watcher.cancel()
        if left:
            caller.uncancel()


async def answer_or_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | Response:
    """The result of `work`, or an empty answer that nobody receives when the client goes away first."""
    try:
        return await while_connected(receive, work)
    except ClientDisconnect:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


class EventStream(StreamingResponse):
    """Server-sent events from a generator, which is closed as soon as the client has gone."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None], status_code: int = 200) -> None:
        super().__init__(events, status_code=status_code, headers={"cache-control": "no-cache"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end or until nobody listens."""
        async with aclosing(self._events):
            try:
                await while_connected(receive, self.stream_response(send))
            except (ClientDisconnect, OSError):
                # Nobody is left to tell; closing the generator cancels the work.
                return


async def _gone(receive: Receive) -> None:
    with contextlib.suppress(Exception):  # whatever ends the reading, nobody is there any more
        while (await receive())["type"] != "http.disconnect":
            continue
