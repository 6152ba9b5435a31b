"""A connection is hung up on when its headers do not end, and only then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from tunesmith.serve import connection
from tunesmith.serve.connection import HEADER_BYTES, TimedProtocol
from tunesmith.serve.stage import ServeOptions, listening

HEAD = b"POST /x HTTP/1.1\r\nhost: here\r\ncontent-length: 3\r\n"
SECONDS = 0.3


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, takes longer than headers may, and answers with the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    await asyncio.sleep(2 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], Any]:
    """Runs a conversation with a server of this protocol."""
    monkeypatch.setattr(connection, "HEADER_SECONDS", SECONDS)

    def run(speak: Callable[..., Any]) -> Any:
        async def main() -> Any:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                config = uvicorn.Config(application, http=TimedProtocol, log_config=None, lifespan="off")
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                try:
                    async with asyncio.timeout(20):
                        return await speak(reader, writer)
                finally:
                    writer.close()
                    server.should_exit = True
                    await serving

        return asyncio.run(main())

    return run


def test_headers_that_do_not_end_in_time_end_the_connection(talk: Callable[..., Any]) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        return await reader.read()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD)
        return await reader.read()

    assert talk(silent) == b""
    assert talk(slow) == b""


def test_a_slow_body_and_a_slow_answer_are_waited_for_and_the_connection_is_kept(talk: Callable[..., Any]) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        said = []
        for body in (b"one", b"two"):
            writer.write(HEAD + b"\r\n" + body[:1])
            await asyncio.sleep(2 * SECONDS)
            writer.write(body[1:])
            await reader.readuntil(b"\r\n\r\n")
            said.append(await reader.readexactly(3))
        writer.write(HEAD)  # the next request's headers are due again
        return [*said, await reader.read()]

    assert talk(speak) == [b"one", b"two", b""]


def test_headers_are_not_kept_without_end(talk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 60.0)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, int]:
        answer, sent = asyncio.ensure_future(reader.read(100)), 0
        writer.write(HEAD)
        while not answer.done():
            writer.write(b"x: " + b"y" * 1000 + b"\r\n")
            sent += 1005
            await asyncio.sleep(0.001)
        try:
            return answer.result(), sent
        except ConnectionError:  # it closed while more was coming
            return b"", sent

    said, sent = talk(speak)
    assert said[:13] in (b"", b"HTTP/1.1 400 ")
    assert HEADER_BYTES < sent < 8 * HEADER_BYTES


def test_the_server_sends_each_part_of_an_answer_at_once() -> None:
    """Nagle's algorithm held the body back until the client acknowledged the headers, after 40 ms."""

    async def nodelay(listener: socket.socket) -> int:
        accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        async with await asyncio.start_server(lambda _, writer: accepted.put_nowait(writer), sock=listener):
            _, client = await asyncio.open_connection(*listener.getsockname())
            server = await accepted.get()
            value = server.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            server.close()
            client.close()
        return int(value)

    with listening(ServeOptions(port=0)) as (listener, _):
        assert asyncio.run(nodelay(listener)) != 0
