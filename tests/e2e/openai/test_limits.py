"""How much a key may use, and how much the server takes: 429 and 413 as the official client understands them."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest

from tests.e2e.openai.conftest import Running, start_server
from tunesmith.serve.scopes import scope_of

HELLO: Any = [{"role": "user", "content": "hello"}]
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = ("--max-pending", "64", "--max-body-mib", "1")
    with start_server(tmp_path_factory.mktemp("limits"), tiny_base, "--backend", "echo", *limits) as running:
        yield running


@pytest.fixture
def limited(server: Running) -> Iterator[Callable[..., openai.OpenAI]]:
    """limited(requests_per_minute=...) -> a client with a new key of these limits."""
    opened: list[openai.OpenAI] = []

    def make(**limits: int) -> openai.OpenAI:
        with server.client() as admin:
            made = admin.post("/tunesmith/keys", body={"limits": limits}, cast_to=dict[str, Any])
        opened.append(server.client(api_key=made["key"]))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def say(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "base", "messages": HELLO, "max_tokens": 4, **options})


def test_requests_per_minute(limited: Callable[..., openai.OpenAI]) -> None:
    client = limited(requests_per_minute=2)
    began = time.monotonic()
    first = client.models.with_raw_response.list()
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert say(client).choices
    with pytest.raises(openai.RateLimitError) as caught:
        say(client, stream=True)
    assert caught.value.code == "rate_limit_exceeded"
    passed = time.monotonic() - began
    assert 30 - passed <= int(caught.value.response.headers["retry-after"]) <= 30
    assert set(caught.value.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]


def test_tokens_per_minute_limit_answers_and_not_reading(limited: Callable[..., openai.OpenAI]) -> None:
    client = limited(tokens_per_minute=10)
    began = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(model="base", messages=HELLO, max_tokens=4)
    used = raw.parse().usage.total_tokens
    assert used > 10
    with pytest.raises(openai.RateLimitError) as caught:
        say(client)
    waits = int(caught.value.response.headers["retry-after"])
    passed = time.monotonic() - began
    assert (used - 10) * 6 - passed <= waits <= (used - 10 + 2) * 6
    listed = client.models.with_raw_response.list()
    assert listed.headers["x-ratelimit-remaining-tokens"] == "0"


def test_the_official_client_waits_and_gets_its_answer(limited: Callable[..., openai.OpenAI]) -> None:
    client = limited(requests_per_minute=60).with_options(max_retries=3)
    for _ in range(60):
        client.models.with_raw_response.list()
    began = time.monotonic()
    assert client.models.list().data
    assert time.monotonic() - began < 50


def test_a_budget_ends_for_good_and_survives_a_new_start(tiny_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with start_server(home, tiny_base, "--backend", "echo") as running:
        with running.client() as admin:
            body = {"limits": {"token_budget": 30}}
            made = admin.post("/tunesmith/keys", body=body, cast_to=dict[str, Any])
        with running.client(api_key=made["key"], max_retries=2) as client:
            spent = 0
            while spent < 30:
                chunks = list(say(client, stream=True, stream_options={"include_usage": True}))
                spent += chunks[-1].usage.total_tokens
            with pytest.raises(openai.RateLimitError) as caught:
                say(client)
            assert caught.value.response.headers["x-should-retry"] == "false"
            assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"
            assert caught.value.code == "insufficient_quota"
            assert client.models.list().data
    with start_server(home, tiny_base, "--backend", "echo") as running:
        with running.client(api_key=made["key"]) as client, pytest.raises(openai.RateLimitError):
            say(client)
        with running.client() as admin:
            key = admin.get(f"/tunesmith/keys/{made['id']}", cast_to=dict[str, Any])
            assert key["tokens_spent"] == spent


def test_a_spent_budget_stops_models_and_not_the_care_for_what_is_kept(
    limited: Callable[..., openai.OpenAI], server: Running
) -> None:
    client = limited(token_budget=1)
    kept = say(client, store=True, metadata={"team": "cards"})
    asking: dict[str, Callable[[], Any]] = {
        "/v1/chat/completions": lambda: say(client),
        "/v1/completions": lambda: client.completions.create(model="base", prompt="hello"),
        "/v1/embeddings": lambda: client.embeddings.create(model="base", input="hello"),
        "/v1/moderations": lambda: client.moderations.create(input="hello"),
        "/v1/responses": lambda: client.responses.create(model="base", input="hello"),
    }
    for path, ask in asking.items():
        with pytest.raises(openai.RateLimitError) as caught:
            ask()
        assert caught.value.code == "insufficient_quota", path
    changed = client.chat.completions.update(kept.id, metadata={"rated": "good"})
    assert changed.to_dict()["metadata"] == {"rated": "good"}
    assert client.responses.input_tokens.count(model="base", input="hello").input_tokens > 0
    paths = httpx.get(server.url.removesuffix("/v1") + "/openapi.json").json()["paths"]
    others = {path for path in paths if "post" in paths[path] and scope_of(path) == "inference"} - set(asking)
    assert others == {
        "/v1/chat/completions/{completion_id}",
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
        "/v1/responses/{response_id}/cancel",
    }


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_held(server: Running, declared: bool) -> None:
    before = psutil.Process(server.process.pid).memory_info().rss
    piece = b" " * MIB
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    content: Any = piece * 12 if declared else (piece for _ in range(12))
    answer = httpx.post(f"{server.url}/chat/completions", content=content, headers=headers, timeout=60)
    assert answer.status_code == 413
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert psutil.Process(server.process.pid).memory_info().rss - before < 8 * MIB


def test_a_body_as_large_as_allowed_is_read(server: Running) -> None:
    with (
        server.client() as client,
        pytest.raises(openai.BadRequestError, match="400"),
    ):
        say(client, messages=[{"role": "user", "content": "a" * (MIB - 1000)}])


SLOW_SERVER = """
import sys
from pathlib import Path
from tunesmith.models.weights import resolve_base
from tunesmith.serve.platform import open_platform
from tunesmith.serve.stage import ServeOptions, open_service, serve
from tunesmith.settings import Settings
from tunesmith.types.recipe import ModelSpec, PluginSpec
backend = PluginSpec.model_validate({"name": "echo", "delay_seconds": 0.5})
options = ServeOptions(port=0, keys=False, backend=backend, max_pending=int(sys.argv[3]), stop_seconds=1)
base = resolve_base(ModelSpec(base=sys.argv[2]), Path(sys.argv[1]))
platform = open_platform(Settings(home=Path(sys.argv[1])))
serve(open_service(base, platform, options), options, lambda url: print(url, flush=True))
"""


def slow_server(tiny_base: Path, home: Path, limit: int) -> subprocess.Popen[str]:
    """A server whose answers take seconds each and that takes at most `limit` of them."""
    command = [sys.executable, "-c", SLOW_SERVER, str(home), str(tiny_base), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _flood(url: str, requests: int) -> tuple[Counter[int], set[str]]:
    """How often each status came when all ask at once, each on its own connection, and the waits asked for."""
    place = urlsplit(url)
    body = json.dumps({"model": "base", "messages": HELLO, "max_tokens": 4}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Content-Length: {len(body)}",
    )
    request = "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body

    # This client is one thread: connections that it opened and could not write to for long would be hung up on.
    connecting = asyncio.Semaphore(100)

    async def ask() -> tuple[int, bytes, bytes]:
        async with connecting:
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(request)
        head, _, said = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), head, said

    answers = await asyncio.gather(*(ask() for _ in range(requests)))
    refused = [(head, json.loads(said)) for status, head, said in answers if status == 429]
    assert all(said["error"]["code"] == "server_busy" for _, said in refused)
    waits = {
        line.partition(b": ")[2].decode() for head, _ in refused for line in head.split(b"\r\n") if b"etry-" in line
    }
    return Counter(status for status, _, _ in answers), waits


@pytest.fixture
def at_once() -> Iterator[int]:
    """How many connections this process may have: 10,000, or what the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield 10_000 if before[1] == resource.RLIM_INFINITY else min(10_000, before[1] - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_requests_at_once_are_answered_or_told_to_wait(
    tiny_base: Path, tmp_path: Path, at_once: int
) -> None:
    with slow_server(tiny_base, tmp_path / "home", 40) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            asyncio.run(_flood(url, at_once))
            before = psutil.Process(process.pid).memory_info().rss
            counts, waits = asyncio.run(_flood(url, at_once))
            assert set(counts) == {200, 429}
            assert counts[200] >= 40
            assert counts.total() == at_once
            assert waits == {"1"}
            assert psutil.Process(process.pid).memory_info().rss - before < 48 * MIB
            assert httpx.get(f"{url}/health").status_code == 200
        finally:
            process.terminate()
            process.wait(timeout=90)
