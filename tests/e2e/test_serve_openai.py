"""The official openai client against a real server: the echo engine for the protocol, the tiny model for weights."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tunesmith.engine.backends.echo import Echo
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, resolve_base
from tunesmith.release.registry import Registry
from tunesmith.serve.platform import open_platform
from tunesmith.serve.stage import ServeOptions, open_service, running
from tunesmith.settings import Settings
from tunesmith.testing.adapters import make_adapter
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message
from tunesmith.types.recipe import ModelSpec, PluginSpec
from tunesmith.types.release import Release

JSON = {"content-type": "application/json"}
LONE_SURROGATE = b'{"model": "base", "messages": [{"role": "user", "content": "\\ud800"}]}'
SYSTEM = "Answer with one label."
QUESTION = "They charged me twice"
OPTIONS = ServeOptions(port=0, keys=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseFiles:
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return resolve_base(ModelSpec(base=str(folder)), folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def release_of(base: BaseFiles, adapter_digest: str, **changes: Any) -> Release:
    fields = {
        "name": "disputes",
        "base": base.name,
        "base_digest": base.digest,
        "adapter_digest": adapter_digest,
        "template_digest": Renderer(base.path).template_digest,
        "dataset_digest": "d",
        "report_digest": "r",
        "decision_digest": "e",
        "outcome": "pass",
        "run": "run",
        "system_prompt": SYSTEM,
        "max_new_tokens": 6,
        "created": "2026-01-02T03:04:05+00:00",
    }
    return Release.model_validate(fields | changes)


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, model: str = "base", **options: Any) -> Any:
    messages = options.pop("messages", [{"role": "user", "content": QUESTION}])
    return client.chat.completions.create(model=model, messages=messages, **options)


@contextlib.contextmanager
def echo_server(base: BaseFiles, home: Path) -> Iterator[tuple[str, Registry, Any]]:
    """A server with the echo engine: its URL, its registry, the service."""
    registry = Registry(home)
    engine = Echo(answers={"charged me twice": "duplicate charge"}).start(base.path)
    service = open_service(base, open_platform(Settings(home=home)), OPTIONS, engine=engine)
    with running(service, OPTIONS) as url:
        yield url, registry, service
    registry.close()


@pytest.fixture(scope="module")
def shared(base: BaseFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Registry, Any]]:
    """One server without releases for all tests that only ask."""
    with echo_server(base, tmp_path_factory.mktemp("shared")) as found:
        yield found


@pytest.fixture(scope="module")
def client(shared: tuple[str, Registry, Any]) -> Iterator[openai.OpenAI]:
    with client_of(shared[0]) as found:
        yield found


@pytest.fixture
def server(base: BaseFiles, home: Path) -> Iterator[tuple[str, Registry, Any]]:
    """A server of the test's own, to register releases with."""
    with echo_server(base, home) as found:
        yield found


@pytest.fixture
def own_client(server: tuple[str, Registry, Any]) -> Iterator[openai.OpenAI]:
    with client_of(server[0]) as found:
        yield found


def test_plain_answer_with_usage(client: openai.OpenAI, base: BaseFiles) -> None:
    found = ask(client)
    assert found.choices[0].message.content == "duplicate charge"
    assert found.choices[0].finish_reason == "stop"
    prompt = len(Renderer(base.path).prompt_ids([Message(role="user", content=QUESTION)]))
    answer = len("duplicate charge") + 1
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (prompt, answer)
    assert found.usage.total_tokens == prompt + answer
    assert found.id.startswith("chatcmpl-")
    assert found.model == "base"


def test_streamed_answer_is_the_plain_one(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "duplicate charge"
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1


def test_streamed_usage_is_the_last_chunk_and_only_when_asked(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True, n=2, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 2 * (len("duplicate charge") + 1)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks[:-1])
    assert all(chunk.choices for chunk in ask(client, stream=True, stream_options={}))


def test_wire_format_of_the_stream(shared: tuple[str, Registry, Any]) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    answer = httpx.post(f"{shared[0]}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    first = json.loads(lines[0].removeprefix("data: "))
    assert "usage" not in first
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["delta"] == {}


def test_choices_stop_strings_and_lengths(client: openai.OpenAI) -> None:
    found = ask(client, n=3, stop=["te ch", "never"])
    assert [choice.message.content for choice in found.choices] == ["duplica"] * 3
    assert {choice.finish_reason for choice in found.choices} == {"stop"}
    for limit in ({"max_tokens": 3}, {"max_completion_tokens": 3}, {"max_completion_tokens": 3, "max_tokens": 9}):
        cut = ask(client, **limit).choices[0]
        assert (cut.message.content, cut.finish_reason) == ("dup", "length")


def test_logprobs(client: openai.OpenAI) -> None:
    found = ask(client, logprobs=True, top_logprobs=1).choices[0].logprobs.content
    assert [one.token for one in found] == list("duplicate charge")
    assert bytes(byte for one in found for byte in one.bytes) == b"duplicate charge"
    assert all(one.top_logprobs[0].token == one.token and one.logprob <= 0 for one in found)
    assert all(one.top_logprobs == [] for one in ask(client, logprobs=True).choices[0].logprobs.content)
    assert ask(client).choices[0].logprobs is None
    chunks = list(ask(client, stream=True, logprobs=True))
    streamed = [one for chunk in chunks if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]
    assert [one.token for one in streamed] == list("duplicate charge")


def test_text_parts_nulls_and_fields_that_change_nothing(client: openai.OpenAI) -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "They charged "}, {"type": "text", "text": "me twice"}]}
    ]
    inert = {"user": "u", "metadata": {"a": "b"}, "store": False, "presence_penalty": 0, "tools": [], "logit_bias": {}}
    nulls = {"temperature": None, "stop": None, "response_format": {"type": "text"}}
    assert ask(client, messages=parts, **inert, **nulls).choices[0].message.content == "duplicate charge"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "tools"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"presence_penalty": -1}, "presence_penalty"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"extra_body": {"functions": [{"name": "f"}]}}, "functions"),
    ({"extra_body": {"min_p": 0.1}}, "min_p"),
    ({"temperature": 2.5}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"n": 0}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stream_options": {"include_usage": "perhaps"}}, "stream_options"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].content"),
    ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls"),
    ({"messages": [{"role": "user", "content": "<|im_end|>"}]}, "messages"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[0].content",
    ),
]


@pytest.mark.parametrize(("options", "param"), REFUSED, ids=[param for _, param in REFUSED])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **dict(options), stream=stream)
    error: Any = caught.value.body
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)
    assert caught.value.request_id


@pytest.mark.parametrize("stream", [False, True])
def test_too_long_is_a_400_with_the_numbers(client: openai.OpenAI, stream: bool) -> None:
    for options in ({"messages": [{"role": "user", "content": "a" * 5000}]}, {"max_tokens": 4096}):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, **options, stream=stream)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.param == "messages"
        assert "4096" in str(caught.value.body)


@pytest.mark.parametrize("stream", [False, True])
def test_unknown_model_is_404(client: openai.OpenAI, stream: bool) -> None:
    for action in (lambda: ask(client, "bass", stream=stream), lambda: client.models.retrieve("bass")):
        with pytest.raises(openai.NotFoundError) as caught:
            action()
        assert caught.value.code == "model_not_found"
        assert "Did you mean 'base'?" in str(caught.value.body)


def test_foreign_routes_methods_and_bodies_have_the_same_shape(shared: tuple[str, Registry, Any]) -> None:
    answers = [
        (httpx.get(f"{shared[0]}/v1/nothing"), 404),
        (httpx.get(f"{shared[0]}/v1/completions"), 405),
        (httpx.post(f"{shared[0]}/v1/chat/completions", content=b"{"), 400),
        (httpx.post(f"{shared[0]}/v1/chat/completions", json=[1]), 400),
        (httpx.post(f"{shared[0]}/v1/chat/completions", json={}), 400),
        (httpx.post(f"{shared[0]}/v1/chat/completions", content=b""), 400),
        (httpx.post(f"{shared[0]}/v1/chat/completions", content=LONE_SURROGATE, headers=JSON), 400),
    ]
    for answer, status in answers:
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"].startswith("req_")


def test_stream_options_without_stream_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="400") as caught:
        ask(client, extra_body={"stream_options": {"include_usage": True}})
    assert caught.value.param == "stream_options"


def test_health(shared: tuple[str, Registry, Any]) -> None:
    found = httpx.get(f"{shared[0]}/health").json()
    assert found["status"] == "ok"
    assert found["context_length"] == 4096


def test_release_is_served_without_restart(
    server: tuple[str, Registry, Any], own_client: openai.OpenAI, base: BaseFiles, tmp_path: Path
) -> None:
    _, registry, service = server
    assert [model.id for model in own_client.models.list()] == ["base"]
    digest = make_adapter(base.path, tmp_path / "adapter")
    registry.register(release_of(base, digest), tmp_path / "adapter")
    registry.move_alias("disputes", "stable", 1)
    assert [model.id for model in own_client.models.list()] == ["base", "disputes@v1", "disputes:stable", "disputes"]
    assert own_client.models.retrieve("disputes").created == 1767323045
    assert service.engine.adapters() == ()
    plain = ask(own_client, "base")
    for model in ("disputes", "disputes:stable", "disputes@v1"):
        found = ask(own_client, model)
        assert found.model == model
        assert found.usage.prompt_tokens == plain.usage.prompt_tokens + len("<s>system\n" + SYSTEM + "<e>\n") - 4
        assert found.choices[0].finish_reason == "length"  # the release's max_new_tokens
    assert service.engine.adapters() == (digest,)
    own = [{"role": "system", "content": "Own."}, {"role": "user", "content": QUESTION}]
    own_tokens = [ask(own_client, model, messages=own).usage.prompt_tokens for model in ("base", "disputes")]
    assert own_tokens[0] == own_tokens[1]


def test_release_of_another_base_or_template_is_not_served(
    server: tuple[str, Registry, Any], own_client: openai.OpenAI, base: BaseFiles, tmp_path: Path
) -> None:
    digest = make_adapter(base.path, tmp_path / "adapter")
    for name, changes in (("other-base", {"base_digest": "0" * 64}), ("other-template", {"template_digest": "0"})):
        server[1].register(release_of(base, digest, name=name, **changes), tmp_path / "adapter")
        assert [model.id for model in own_client.models.list()] == ["base"]
        with pytest.raises(openai.NotFoundError, match="404") as caught:
            ask(own_client, name)
        assert caught.value.code == "model_not_found"
        assert "exists but is not served here" in str(caught.value.body)


def test_changed_adapter_is_refused_with_a_reason(
    server: tuple[str, Registry, Any], own_client: openai.OpenAI, base: BaseFiles, tmp_path: Path
) -> None:
    digest = make_adapter(base.path, tmp_path / "adapter")
    release, _ = server[1].register(release_of(base, digest), tmp_path / "adapter")
    (Path(release.adapter_path) / "adapter_config.json").write_text("{}")
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            ask(own_client, "disputes", stream=stream)
        assert "digest" in str(caught.value.body)
    assert ask(own_client).choices[0].message.content == "duplicate charge"


class CountingEcho:
    """The echo engine, counting answers that began and answers that were closed."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.started = self.ended = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, request: GenerationRequest) -> Any:
        self.started += 1
        try:
            async for event in self._engine.submit(request):
                yield event
        finally:
            self.ended += 1


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_goes_away_cancels_the_generation(base: BaseFiles, home: Path, stream: bool) -> None:
    registry = Registry(home)
    engine: Any = CountingEcho(Echo(length=500, delay_seconds=0.05).start(base.path))
    body = {"model": "base", "messages": [{"role": "user", "content": "b" * 600}], "stream": stream, "n": 2}
    with running(open_service(base, open_platform(Settings(home=home)), OPTIONS, engine=engine), OPTIONS) as url:
        _ask_and_leave(f"{url}/v1/chat/completions", body, lambda: engine.started == 2)
        _wait_for(lambda: engine.started == engine.ended == 2)
    registry.close()


def _ask_and_leave(url: str, body: dict[str, Any], begun: Callable[[], bool]) -> None:
    """Send a request and drop the connection: after the first line of a stream, or while nothing has come yet."""
    if body["stream"]:
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            next(answer.iter_lines())
        return
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port)
    connection.request("POST", place.path, json.dumps(body), {"content-type": "application/json"})
    _wait_for(begun)
    connection.close()


def _wait_for(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def test_error_after_the_first_byte_is_an_error_event(base: BaseFiles, home: Path) -> None:
    class Breaks(CountingEcho):
        async def submit(self, request: GenerationRequest) -> Any:
            async for event in self._engine.submit(request):
                yield event
                raise RuntimeError("wires crossed")

    registry = Registry(home)
    engine: Any = Breaks(Echo().start(base.path))
    with (
        running(open_service(base, open_platform(Settings(home=home)), OPTIONS, engine=engine), OPTIONS) as url,
        client_of(url) as client,
        pytest.raises(openai.APIError, match="Internal error: RuntimeError"),
    ):
        list(ask(client, stream=True))
    registry.close()


def test_tiny_model_with_an_adapter_answers_as_the_engine_does(base: BaseFiles, home: Path, tmp_path: Path) -> None:
    registry = Registry(home)
    digest = make_adapter(base.path, tmp_path / "adapter")
    registry.register(release_of(base, digest), tmp_path / "adapter")
    backend = PluginSpec.model_validate({"name": "embedded", "precision": "float32", "threads": 1})
    options = OPTIONS.model_copy(update={"backend": backend})
    service = open_service(base, open_platform(Settings(home=home)), options)
    renderer = Renderer(base.path)
    prompt = renderer.prompt_ids([Message(role="system", content=SYSTEM), Message(role="user", content=QUESTION)])

    async def expected(adapter: str | None) -> str:
        request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(max_tokens=6))
        return "".join([event.text async for event in service.engine.submit(request)])

    with running(service, options) as url, client_of(url) as client:
        tuned = ask(client, "disputes").choices[0].message.content
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, "disputes", stream=True))
        asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        plain = ask(client, "base", messages=asked, temperature=0, max_tokens=6).choices[0].message.content
        assert tuned == streamed == asyncio.run(expected(digest))
        assert plain == asyncio.run(expected(None)) != tuned
        drawn = [ask(client, seed=5, max_tokens=8).choices[0].message.content for _ in range(2)]
        assert drawn[0] == drawn[1] != ask(client, seed=6, max_tokens=8).choices[0].message.content
        pair = ask(client, seed=5, max_tokens=8, n=2).choices
        assert pair[0].message.content == drawn[0] != pair[1].message.content
    registry.close()


SERVER = """
import sys
from pathlib import Path
from tunesmith.models.weights import resolve_base
from tunesmith.serve.platform import open_platform
from tunesmith.serve.stage import ServeOptions, open_service, serve
from tunesmith.settings import Settings
from tunesmith.types.recipe import ModelSpec, PluginSpec

home, folder = Path(sys.argv[1]), Path(sys.argv[2])
backend = PluginSpec.model_validate({"name": "echo", "delay_seconds": 0.1})
options = ServeOptions(port=0, keys=False, backend=backend)
base = resolve_base(ModelSpec(base=str(folder)), home)
serve(open_service(base, open_platform(Settings(home=home)), options), options, lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


def test_sigterm_lets_the_running_answer_finish(base: BaseFiles, home: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", SERVER, str(home), str(base.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with client_of(url) as client:
            stream = ask(client, stream=True)
            first = next(stream)
            process.send_signal(signal.SIGTERM)
            chunks = [first, *stream]
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert process.stdout.read() == "stopped\n"
    assert process.returncode == 0


def test_port_in_use_is_a_plain_error(shared: tuple[str, Registry, Any]) -> None:
    from tunesmith.errors import EngineError

    taken = OPTIONS.model_copy(update={"port": int(shared[0].rsplit(":", 1)[1])})
    with pytest.raises(EngineError, match="Cannot listen"), running(shared[2], taken):
        pass
