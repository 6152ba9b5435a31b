"""The serving benchmarks' own parts, small: they count right and find what they are to find."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from bench.serving import gateway, health
from bench.serving.client import Connection, speak
from bench.serving.engines import load
from bench.serving.prompts import prompts
from bench.serving.servers import Server, ours
from tests.fake_vllm import serving
from tunesmith.models.template import Renderer


class Scripted:
    """A chat server that streams the given pieces, whatever it is asked."""

    def __init__(self, *pieces: str, end: str = "data: [DONE]\n\n") -> None:
        self._lines = [f'data: {{"choices": [{{"delta": {{"content": "{piece}"}}}}]}}\n\n' for piece in pieces]
        self._end = end

    def app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.post("/v1/chat/completions")
        async def answer(request: Request) -> StreamingResponse:
            assert (await request.json())["stream"] is True
            return StreamingResponse(iter([*self._lines, self._end]))

        return app


def asked(server: Scripted) -> Any:
    async def once(url: str) -> Any:
        connection = Connection(url, None)
        try:
            return await speak(connection, {"messages": []})
        finally:
            connection.close()

    with serving(server) as url:
        return asyncio.run(once(url))


def test_a_streamed_answer_is_read_piece_by_piece() -> None:
    said = asked(Scripted("one ", "two"))
    assert said.pieces == ("one ", "two")
    assert 0 < said.first_seconds <= said.seconds


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    with pytest.raises(RuntimeError, match="broke off"):
        asked(Scripted("one ", end=""))
    with pytest.raises(RuntimeError, match="too hot"):
        asked(Scripted("one", end='data: {"error": {"message": "too hot"}}\n\n'))


def test_prompts_are_all_different() -> None:
    assert len(set(prompts(100))) == 100


@pytest.fixture(scope="module")
def echo(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--backend", "echo", "--backend-option", f"length={gateway.LENGTH}")
    with ours(tmp_path_factory.mktemp("home"), tiny, *options) as server:
        yield server


def test_no_stream_is_lost_or_changed(echo: Server, tiny: Path) -> None:
    found = asyncio.run(gateway.many_streams(echo, Renderer(tiny), 40))
    assert (found["streams"], found["wrong"], found["first"]) == (40, 0, [])


def test_a_changed_stream_is_noticed(tiny: Path) -> None:
    with serving(Scripted("something else")) as url:
        found = asyncio.run(gateway.many_streams(Server(url, "base", None, 0.0), Renderer(tiny), 3))
    assert found["wrong"] == 3


def test_latency_is_measured_at_the_rate_that_was_asked_for(echo: Server) -> None:
    found = asyncio.run(gateway.added_latency(echo, 40.0, 1.0))
    assert (found["requests"], found["failed"]) == (40, 0)
    assert 0 < found["p50_ms"] <= found["p99_ms"]


def test_output_tokens_are_counted_by_the_tokenizer(echo: Server, tiny: Path) -> None:
    found = asyncio.run(load(echo, Renderer(tiny), 2, prompts(4), 16))
    assert found["tokens"] == 4 * 16
    assert found["tokens_per_second"] > 0
    assert found["first_token_p50_ms"] <= found["first_token_p95_ms"]


def test_health_is_timed_while_a_job_trains_and_chats_are_answered(echo: Server) -> None:
    asked = argparse.Namespace(rate=40.0, seconds=0.5, chats=2)
    found = health.measure(echo, health.STATES, asked)
    assert tuple(found) == health.STATES
    for latency in found.values():
        assert (latency.requests, latency.failed) == (20, 0)
        assert 0 < latency.p50 <= latency.p99 <= latency.max
    lines = health.table(found).splitlines()
    assert len(lines) == 2 + len(health.STATES)
    assert lines[3].startswith("| training | 20 | 0 | ")
