"""Connections: a client that does not finish its headers, or never ends them, is hung up on."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEADER_BYTES", "HEADER_SECONDS", "TimedProtocol"]

HEADER_SECONDS = 15.0
"""How long the line and headers of a request may take, from the connection or their first byte on."""

HEADER_BYTES = 64 << 10
"""How many bytes of line and headers may have come, beside the first piece read, without reaching their end."""


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for headers as long as the client likes (slow loris), and keeps as many
    of them as come.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._hang_up: asyncio.TimerHandle | None = None
        self._between = True  # no request's body is being read: the next bytes are of a line or of headers
        self._in_head = False
        self._head_bytes = 0
        super().__init__(*arguments, **options)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: its first request is due."""
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Bytes came: whole headers, a part of them, or a body."""
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers of the request are too long.")
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """All headers have come."""
        self._between = self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request's last byte has come."""
        self._between = True
        super().on_message_complete()

    def _expect_headers(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or not self._between:
            self._cancel()
        elif self._hang_up is None:
            self._hang_up = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _cancel(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
