"""Bodies of requests: no longer than they may be, no slower than a client that means it."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.serve.failures import ApiError, answer
from tunesmith.serve.guard import Guard

__all__ = ["BodyLimit", "refuse"]

_UPLOADS = ("/v1/files", "/v1/uploads")
_PATIENCE_SECONDS = 30.0
_LEAST_BYTES_PER_SECOND = 1024
_DRAIN_SECONDS, _DRAIN_BYTES = 2.0, 16 << 20


class BodyLimit:
    """Middleware: 413 for a body above the limit of its route, found while it is read, and 408 for one that takes
    longer than 30 seconds and one more for each KiB. No name here has a zero byte, and
    PostgreSQL takes none: in the path it is 404, in the query 400.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is known to be wrong, watch the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._guard.max_upload_bytes if scope["path"].startswith(_UPLOADS) else self._guard.max_body_bytes
        declared = Headers(scope=scope).get("content-length", "")
        if "\0" in scope["path"]:
            await refuse(ApiError(404, "Unknown request URL: no name has a zero byte."), scope, receive, send)
        elif b"%00" in scope["query_string"]:
            await refuse(ApiError(400, "The query contains a zero byte."), scope, receive, send)
        elif declared.isdecimal() and int(declared) > limit:
            await refuse(_too_large(limit), scope, receive, send)
        else:
            await self._app(scope, _Reading(receive, limit), send)


class _Reading:
    """Receives a body piece by piece."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._began = asyncio.get_running_loop().time()
        self._bytes = 0
        self._ended = False

    async def __call__(self) -> Message:
        if self._ended:
            return await self._receive()
        deadline = self._began + _PATIENCE_SECONDS + self._bytes / _LEAST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The body of the request came too slowly.") from None
        self._bytes += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        if self._bytes > self._limit:
            # FastAPI lets this exception through where it reads a body, and answers 400 to any other.
            raise HTTPException(413, _too_large(self._limit).message)
        return message


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `error` to a request whose body nobody has read.

    A little of the body is read first: a client that is still sending when the connection closes never sees the answer.
    """
    read, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while more and read < _DRAIN_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                more = message.get("more_body", False)
    await answer(error)(scope, receive, send)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body of the request is larger than {limit:,} bytes, the most this address takes.")
