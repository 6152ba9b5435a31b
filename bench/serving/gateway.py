"""The server without a model: 1,000 streams at once, none lost or reordered, and what it adds to a request's time.

    python -m bench.serving.gateway [--streams 1000] [--rate 300] [--seconds 20]

The engine is `echo`, which repeats the end of the prompt and computes nothing, so all the time a request takes is the
server's (and this client's, which runs on the same machine). Every stream asks with words of its own and must get
exactly these back in their order. At a fixed rate requests are sent when they are due, whatever became of those before
(an open loop), and a request's time counts from when it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.serving.client import Connection, speak
from bench.serving.servers import Server, ours
from tunesmith.models.template import Renderer
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message

__all__ = ["added_latency", "main", "many_streams"]

LENGTH = 48  # bytes that are repeated: the tiny tokenizer has one token for each
MARK = "stream {number:05d} says "


async def many_streams(server: Server, renderer: Renderer, streams: int) -> dict[str, Any]:
    """All streams at once; how many were lost or came back changed."""

    def expected(text: str) -> str:
        ids = renderer.prompt_ids([Message(role="user", content=text)])
        return renderer.decode([token for token in ids if token not in renderer.stop_ids][-LENGTH:])

    async def one(number: int) -> str:
        connection = Connection(server.url, server.key)
        words = MARK.format(number=number)
        text = words + "".join(chr(97 + (number * 7 + place) % 26) for place in range(LENGTH - len(words)))
        try:
            said = await speak(connection, _body(server, text))
        except (RuntimeError, OSError, asyncio.IncompleteReadError) as error:
            return f"lost: {error}"
        finally:
            connection.close()
        return "" if "".join(said.pieces) == expected(text) else f"changed: {said.pieces}"

    began = time.perf_counter()
    wrong = [found for found in await asyncio.gather(*(one(number) for number in range(streams))) if found]
    return {"streams": streams, "wrong": len(wrong), "first": wrong[:1], "seconds": time.perf_counter() - began}


async def added_latency(server: Server, rate: float, seconds: float) -> dict[str, Any]:
    """Milliseconds at percentiles of whole (not streamed) requests that are sent `rate` times a second."""
    idle: list[Connection] = []
    times: list[float] = []
    failed: list[str] = []

    async def one(due: float) -> None:
        connection = idle.pop() if idle else Connection(server.url, server.key)
        try:
            status, pieces = await connection.post("/chat/completions", _body(server, "is anybody there?"))
            answer = b"".join([piece async for piece in pieces])
            times.append(time.perf_counter() - due)
            if status != 200:
                failed.append(answer[:200].decode(errors="replace"))
            idle.append(connection)
        except (OSError, asyncio.IncompleteReadError) as error:
            failed.append(str(error))

    began, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    cuts = statistics.quantiles([1000 * one for one in times], n=100)
    return {
        "rate": rate,
        "requests": len(tasks),
        "failed": len(failed),
        "first": failed[:1],
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
        "connections": len(idle),
    }


def _body(server: Server, text: str) -> dict[str, Any]:
    return {"model": server.model, "messages": [{"role": "user", "content": text}], "max_tokens": 2 * LENGTH}


def main() -> None:
    """Measure both and print them as JSON."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        base = make_tiny_model(Path(folder) / "tiny")
        echo = ("--backend", "echo", "--backend-option", f"length={LENGTH}")
        with ours(Path(folder) / "home", base, *echo) as server:
            asyncio.run(added_latency(server, min(50.0, given.rate), 2.0))  # warms up
            streams = asyncio.run(many_streams(server, Renderer(base), given.streams))
            latency = asyncio.run(added_latency(server, given.rate, given.seconds))
    print(json.dumps({"streams": streams, "latency": latency}, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
