"""What an evaluation adds to each item beside the requests themselves.

    python -m bench.harness [--items 1000] [--concurrency 16] [--rounds 3] [--server]

The engine is `echo`, which computes nothing. A bare client sends the same requests with as many in flight and throws
the answers away; the harness also keeps every answer on disk, scores it and makes the report. Both take turns
(A B A B ...) in one call; the figures are medians over the rounds. Without `--server` both use the engine in this
process; with it, both speak to a `tunesmith serve` of their own, as `tunesmith eval run` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from bench.clock import Reading
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.engine_subject import EngineSubject, Served
from tunesmith.evaluate.http_subject import Address, HttpSubject, wire_message
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.subject import Subject
from tunesmith.progress import Silent
from tunesmith.testing.echo import ByteCodec, echo_engine
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item, Suite

__all__ = ["Overhead", "Work", "in_process", "main", "measured", "over_http", "short_suite"]

LENGTH = 8

Asking = Callable[[Item], Awaitable[int]]


class Overhead(NamedTuple):
    """Milliseconds for each item: bare, with the harness, and what it adds (on the wall, and of this processor)."""

    items: int
    bare: float
    whole: float
    added: float
    added_processor: float


class Work(NamedTuple):
    """The same requests in two ways: `ask` one item bare, or all of them of `subject`."""

    suite: Suite
    ask: Asking
    subject: Subject


class _ByteRenderer(ByteCodec):
    """Conversations as bytes."""

    tool_syntax = None

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        """The texts, one behind the other."""
        return tuple("|".join(message.content or "" for message in messages).encode())


def short_suite(items: int) -> Suite:
    """Questions of a few words, each with a tag."""
    asked = tuple(
        Item(
            id=str(number),
            type="qa",
            messages=(Message(role="user", content=f"What is the number of item {number:06d}?"),),
            reference=f"{number:06d}?",
            tags={"third": str(number % 3)},
        )
        for number in range(items)
    )
    return Suite(name="short", items=asked, metrics=(MetricSpec(name="exact_match"),), max_new_tokens=LENGTH)


def in_process(suite: Suite) -> Work:
    """An echo engine in this process."""
    engine, renderer = echo_engine(length=LENGTH), _ByteRenderer()

    async def ask(item: Item) -> int:
        ids = renderer.prompt_ids(item.messages)
        request = GenerationRequest(prompt_ids=ids, sampling=Sampling(max_tokens=LENGTH))
        return len([event.text async for event in engine.submit(request)])

    return Work(suite, ask, EngineSubject("echo", Served(engine, renderer, "echo", None, {})))


@contextmanager
def over_http(suite: Suite) -> Iterator[Work]:
    """A `tunesmith serve --backend echo` of our own."""
    with tempfile.TemporaryDirectory() as folder:
        base = make_tiny_model(Path(folder) / "tiny")
        command = [sys.executable, "-m", "tunesmith.cli.main", "serve", "--base", str(base), "--port", "0"]
        environment = {**os.environ, "TUNESMITH_HOME": f"{folder}/home"}
        with subprocess.Popen(
            [*command, "--backend", "echo", "--no-keys", "--json"], stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                text = ""
                while not text.rstrip().endswith("}"):
                    text += process.stdout.readline()
                yield _over_http(suite, json.loads(text)["url"])
            finally:
                process.terminate()


def _over_http(suite: Suite, url: str) -> Work:
    client: list[httpx.AsyncClient] = []

    async def ask(item: Item) -> int:
        if not client:
            limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
            client.append(httpx.AsyncClient(base_url=url + "/", trust_env=False, timeout=60, limits=limits))
        body = {
            "model": "base", "messages": [wire_message(each) for each in item.messages], "temperature": 0.0,
            "max_tokens": LENGTH, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True,
        }  # fmt: skip
        async with client[0].stream("POST", "chat/completions", json=body) as response:
            return len([line async for line in response.aiter_lines()])

    return Work(suite, ask, HttpSubject("echo", Address(url, "base")))


async def measured(work: Work, concurrency: int, rounds: int) -> Overhead:
    """Both ways in turn; the first round of each is not counted."""
    bare, whole = [], []
    for _ in range(rounds + 1):
        bare.append(await _timed(lambda: _bare(work, concurrency)))
        whole.append(await _timed(lambda: _whole(work, concurrency)))
    items = len(work.suite.items)
    pairs = list(zip(bare, whole, strict=True))[1:]

    def each(values: list[float]) -> float:
        return 1000 * statistics.median(values) / items

    return Overhead(
        items=items,
        bare=each([first.seconds for first, _ in pairs]),
        whole=each([second.seconds for _, second in pairs]),
        added=each([second.seconds - first.seconds for first, second in pairs]),
        added_processor=each([second.processor_seconds - first.processor_seconds for first, second in pairs]),
    )


async def _timed(work: Callable[[], Awaitable[None]]) -> Reading:
    before = Reading.now()
    await work()
    return Reading.now().since(before)


async def _bare(work: Work, concurrency: int) -> None:
    waiting = iter(work.suite.items)

    async def client() -> None:
        for item in waiting:
            await work.ask(item)

    await asyncio.gather(*(client() for _ in range(concurrency)))


async def _whole(work: Work, concurrency: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(concurrency=concurrency)
        await run_suite(work.suite, [work.subject], options, Silent(), None, AnswerStore(Path(folder)))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", action="store_true", help="through a server instead of in this process")
    given = parser.parse_args()
    suite = short_suite(given.items)
    if given.server:
        with over_http(suite) as work:
            found = asyncio.run(measured(work, given.concurrency, given.rounds))
    else:
        found = asyncio.run(measured(in_process(suite), given.concurrency, given.rounds))
    place = "through a server" if given.server else "in this process"
    print(
        f"{found.items} items {place}, {given.concurrency} in flight: bare {found.bare:.2f} ms, with the harness "
        f"{found.whole:.2f} ms; added {found.added:.2f} ms an item (processor {found.added_processor:.2f} ms)"
    )


if __name__ == "__main__":
    main()
