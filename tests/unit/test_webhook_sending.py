"""Sending events: an endpoint that drips its answer is given up in time, so that the others get theirs."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from tunesmith.serve.api.webhooks.sending import send
from tunesmith.types.webhooks import WebhookEndpoint


def test_an_answer_that_drips_is_given_up() -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():  # more often than the client's limit for one piece
                writer.write(b"x-more: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.close()
            await writer.wait_closed()
        gone.set()

    async def run() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = WebhookEndpoint(
                id="we_1",
                project="ours",
                name="n",
                url=f"http://127.0.0.1:{port}/",
                event_types=("batch.completed",),
                secrets=(),
                created_at=0,
                updated_at=0,
            )
            async with asyncio.timeout(20), httpx.AsyncClient(timeout=5, trust_env=False) as client:
                with pytest.raises(TimeoutError):
                    await send(endpoint, "evt_1", "{}", client, 0.3)
                await gone.wait()

    asyncio.run(run())
