"""A small HTTP client that costs little beside what it measures: one connection, one request at a time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Connection", "Spoken", "speak"]


class Spoken(NamedTuple):
    """A streamed answer: its text in pieces, seconds until the first piece of text and until the end, the tokens it
    counts itself (None: it does not say).
    """

    pieces: tuple[str, ...]
    first_seconds: float
    seconds: float
    tokens: int | None


class Connection:
    """A kept connection to a server."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._root = parts.hostname or "", parts.port or 80, parts.path
        self._key = f"authorization: Bearer {key}\r\n" if key else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, AsyncIterator[bytes]]:
        """Status and the pieces of the answer's body, which must be read to their end before the next request."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        reader, writer = self._streams
        content = json.dumps(body).encode()
        head = (
            f"POST {self._root}{path} HTTP/1.1\r\nhost: {self._host}\r\n{self._key}"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), self._body(reader, headers)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") != "chunked":
            if length := int(headers.get("content-length", 0)):
                yield await reader.readexactly(length)
            return
        while size := int(await reader.readline() or b"-1", 16):
            if size < 0:
                raise RuntimeError("the server hung up in the middle of an answer")
            yield await reader.readexactly(size)
            await reader.readline()
        await reader.readline()


async def speak(connection: Connection, body: dict[str, Any]) -> Spoken:
    """Ask for a streamed chat answer. Raises RuntimeError when the server refuses or breaks off."""
    began = time.perf_counter()
    status, pieces = await connection.post("/chat/completions", body | {"stream": True})
    texts: list[str] = []
    first, tokens, ended, rest = 0.0, None, False, b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                ended = True
                continue
            document = json.loads(data)
            if "error" in document:
                raise RuntimeError(str(document["error"]))
            if document.get("usage"):
                tokens = int(document["usage"]["completion_tokens"])
            for choice in document.get("choices") or ():
                if text := (choice.get("delta") or {}).get("content"):
                    first = first or time.perf_counter() - began
                    texts.append(text)
                ended = ended or choice.get("finish_reason") is not None
    if status != 200 or not ended:
        raise RuntimeError(f"status {status}, {'ended' if ended else 'broke off'}: {rest[:300]!r}")
    return Spoken(tuple(texts), first, time.perf_counter() - began, tokens)
