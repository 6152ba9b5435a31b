"""Engines over HTTP when servers fail, restart or speak otherwise: against the fake vLLM and servers that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tests.fake_vllm import FakeVLLM, serving
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.engine.backends.openai import OpenAI
from tunesmith.engine.backends.vllm import VLLM
from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling, TokenEvent
from tunesmith.errors import EngineError, ModelError, RequestRefused
from tunesmith.models.template import Renderer
from tunesmith.testing.adapters import make_adapter, make_variant

Result = TypeVar("Result")
PROMPT = (5, 6, 7, 8, 40)
CARD = {"data": [{"id": "base", "parent": None, "max_model_len": 256}]}


class Odd:
    """A server with one model whose completions are what `answer` makes of the request."""

    def __init__(self, answer: Callable[[dict[str, Any]], Response]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer

    def app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        app.add_api_route("/v1/models", lambda: CARD, methods=["GET"])
        app.add_api_route("/v1/completions", self.completions, methods=["POST"])
        return app

    async def completions(self, request: Request) -> Response:
        self.asked.append(await request.json())
        return self._answer(self.asked[-1])


def sse(*documents: Any, end: bool = True) -> Response:
    lines = [f"data: {json.dumps(document, ensure_ascii=False)}\n\n" for document in documents]
    return Response("".join(lines) + ("data: [DONE]\n\n" if end else ""), media_type="text/event-stream")


def chunk(token: int, reason: str | None = None, text: str = "") -> dict[str, Any]:
    name = f"token_id:{token}"
    logprobs = {"tokens": [name], "token_logprobs": [-0.5], "top_logprobs": [{name: -0.5, "token_id:9": -1.0}]}
    return {"choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}]}


def failing(status: int) -> Callable[[dict[str, Any]], Response]:
    return lambda _: JSONResponse({"error": {"message": "no", "type": "t", "code": status}}, status)


@pytest.fixture(scope="module")
def fake(tiny: Path) -> FakeVLLM:
    return FakeVLLM(tiny)


@pytest.fixture
def url(fake: FakeVLLM) -> Iterator[str]:
    fake.adapters.clear()
    with serving(fake) as address:
        yield address


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("adapter")
    return make_adapter(tiny, folder), folder


def with_vllm(base: Path, work: Callable[[Any], Awaitable[Result]], **options: Any) -> Result:
    async def run() -> Result:
        try:
            return await work(engine)
        finally:
            await engine.close()

    engine = VLLM.model_validate({"precision": "float32", "look_seconds": 30.0} | options).start(base)
    return asyncio.run(run())


async def ask(engine: Any, adapter: str | None = None, **sampling: Any) -> list[TokenEvent]:
    request = GenerationRequest(prompt_ids=PROMPT, adapter=adapter, sampling=Sampling(**{"max_tokens": 6} | sampling))
    return [event async for event in engine.submit(request)]


def ids(events: list[TokenEvent]) -> list[int]:
    return [event.token_id for event in events]


def test_what_is_asked_is_passed_on(tiny: Path, fake: FakeVLLM, url: str) -> None:
    sampling = {"temperature": 0.7, "top_p": 0.9, "seed": 11, "stop": ("\u2028", "end"), "top_logprobs": 3}
    with_vllm(tiny, lambda engine: ask(engine, **sampling), urls=url)
    asked = fake.requests[-1]
    assert asked["prompt"] == list(PROMPT)
    assert asked["stop"] == ["\u2028", "end"]
    assert {name: asked[name] for name in ("temperature", "top_p", "seed", "logprobs")} == {
        "temperature": 0.7, "top_p": 0.9, "seed": 11, "logprobs": 3,
    }  # fmt: skip
    assert asked["stop_token_ids"] == sorted(Renderer(tiny).stop_ids)
    # What the base's generation_config.json may set is set back.
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"]) == (0, 0.0, 1.0)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_before_a_token_is_replaced_by_another(tiny: Path, url: str, status: int) -> None:
    bad = Odd(failing(status))
    with serving(bad) as wrong:
        found = with_vllm(tiny, lambda engine: asyncio.gather(*(ask(engine) for _ in range(4))), urls=f"{wrong},{url}")
    assert bad.asked, "the failing server was never asked"
    assert [ids(events) for events in found] == [ids(found[0])] * 4


def test_a_refused_request_is_not_tried_elsewhere(tiny: Path, url: str) -> None:
    bad = Odd(failing(400))
    with serving(bad) as wrong, pytest.raises(EngineError, match="refused the request with 400: no"):
        with_vllm(tiny, lambda engine: ask(engine), urls=(wrong,))
    assert len(bad.asked) == 1


def test_a_stream_that_breaks_off_after_a_token_ends_with_an_error(tiny: Path, url: str) -> None:
    bad = Odd(lambda _: sse(chunk(70), end=False))

    async def read(engine: Any) -> tuple[list[TokenEvent], str]:
        events: list[TokenEvent] = []
        try:
            async for event in engine.submit(GenerationRequest(prompt_ids=PROMPT, sampling=Sampling(max_tokens=9))):
                events.append(event)
        except EngineError as error:
            return events, str(error)
        raise AssertionError("it ended as if all were well")

    with serving(bad) as wrong:
        events, said = with_vllm(tiny, read, urls=(wrong,))
    assert ids(events) == [70]
    assert "broke off in the middle" in said
    assert len(bad.asked) == 1


def test_a_stream_that_breaks_off_before_a_token_goes_elsewhere(tiny: Path, url: str) -> None:
    with serving(Odd(lambda _: sse(end=False))) as wrong:
        found = with_vllm(tiny, lambda engine: asyncio.gather(ask(engine), ask(engine)), urls=f"{wrong},{url}")
    assert ids(found[0]) == ids(found[1]) != []


def test_no_server_left_is_said(tiny: Path) -> None:
    with serving(Odd(failing(500))) as wrong, pytest.raises(EngineError, match="No server that has the model answers"):
        with_vllm(tiny, lambda engine: ask(engine), urls=(wrong,))


def test_servers_that_are_not_there_are_named(tiny: Path) -> None:
    with pytest.raises(EngineError, match=r"Not every vLLM server is up: http://127\.0\.0\.1:9/v1"):
        VLLM(urls=("http://127.0.0.1:9/v1",), start_seconds=0.2).start(tiny)


def test_an_adapter_that_a_restarted_server_forgot_is_given_back(
    tiny: Path, fake: FakeVLLM, url: str, adapter: tuple[str, Path]
) -> None:
    async def forgotten(engine: Any) -> tuple[list[int], list[int]]:
        await engine.load_adapter(*adapter)
        before = ids(await ask(engine, adapter[0]))
        fake.adapters.clear()
        return before, ids(await ask(engine, adapter[0]))

    before, after = with_vllm(tiny, forgotten, urls=url)
    assert before == after
    assert adapter[0] not in fake.adapters, "the engine left its adapter behind"


def test_a_server_that_refuses_one_adapter_serves_the_others(
    tiny: Path, fake: FakeVLLM, url: str, adapter: tuple[str, Path], tmp_path: Path
) -> None:
    lost = make_adapter(tiny, tmp_path / "lost", rank=2), tmp_path / "lost"

    async def partly_lost(engine: Any) -> None:
        for one in (adapter, lost):
            await engine.load_adapter(*one)
        before = [ids(await ask(engine)), ids(await ask(engine, adapter[0])), ids(await ask(engine, lost[0]))]
        fake.adapters.clear()  # the server was started again, and one folder is not there any more
        lost[1].rename(tmp_path / "moved")
        with pytest.raises(EngineError, match="No server that has the model answers"):
            await ask(engine, lost[0])
        assert [ids(await ask(engine)), ids(await ask(engine, adapter[0]))] == before[:2]
        (tmp_path / "moved").rename(lost[1])
        assert ids(await ask(engine, lost[0])) == before[2]

    with_vllm(tiny, partly_lost, urls=url)


def test_the_tuned_model_answers_as_the_embedded_engine_does(tiny: Path, url: str, adapter: tuple[str, Path]) -> None:
    async def tuned(engine: Any) -> list[TokenEvent]:
        await engine.load_adapter(*adapter)
        return await ask(engine, adapter[0], top_logprobs=2)

    async def here() -> list[TokenEvent]:
        engine = Embedded(precision="float32").start(tiny)
        try:
            return await tuned(engine)
        finally:
            await engine.close()

    found, expected = with_vllm(tiny, tuned, urls=url), asyncio.run(here())
    assert [event.text for event in found] == [event.text for event in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.token_id for one in ours.top] == [one.token_id for one in theirs.top]
        assert [one.logprob for one in ours.top] == pytest.approx([one.logprob for one in theirs.top], abs=1e-4)


def test_kinds_that_vllm_does_not_serve_are_refused_at_load(tiny: Path, url: str, tmp_path: Path) -> None:
    async def load(engine: Any) -> None:
        for kind in ("dora", "ia3", "oft"):
            digest = make_variant(tiny, tmp_path / kind, kind)
            with pytest.raises(ModelError, match="more than a plain LoRA"):
                await engine.load_adapter(digest, tmp_path / kind)
        wide = make_adapter(tiny, tmp_path / "wide", rank=32)
        with pytest.raises(ModelError, match="rank 32; this vLLM takes at most 16"):
            await engine.load_adapter(wide, tmp_path / "wide")
        assert engine.adapters() == ()

    with_vllm(tiny, load, urls=url, max_lora_rank=16)


def test_what_the_server_says_of_an_adapter_reaches_the_user(
    tiny: Path, url: str, adapter: tuple[str, Path], tmp_path: Path
) -> None:
    async def load(engine: Any) -> None:
        await engine.load_adapter(*adapter)

    paths = {str(adapter[1].parent): str(tmp_path / "elsewhere")}
    with pytest.raises(ModelError, match=r"refuses the adapter .* 404: .*No adapter found") as refused:
        with_vllm(tiny, load, urls=url, paths=paths)
    assert f"{tmp_path}/elsewhere/{adapter[1].name}" in str(refused.value.hint)


def test_a_server_without_runtime_loading_says_how_to_start_it(tiny: Path, adapter: tuple[str, Path]) -> None:
    async def load(engine: Any) -> None:
        await engine.load_adapter(*adapter)

    with serving(Odd(lambda _: sse(chunk(70, "stop")))) as plain, pytest.raises(ModelError) as refused:
        with_vllm(tiny, load, urls=plain)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in str(refused.value.hint)


def test_line_separators_in_the_text_do_not_break_the_stream(tiny: Path) -> None:
    server = Odd(lambda _: sse(chunk(70, text="a\u2028b\x85"), chunk(71, "length")))
    with serving(server) as address:
        found = with_vllm(tiny, lambda engine: ask(engine), urls=address)
    assert ids(found) == [70, 71]
    assert found[-1].finish_reason == "length"


def llama_cpp(given: dict[str, Any]) -> Response:
    """Names tokens in `logprobs.content`, knows no echo, and tells the end in a piece of its own."""
    if given.get("echo"):
        return JSONResponse({"choices": [{"text": "", "logprobs": None, "finish_reason": "stop"}]})
    one = {"id": 70, "logprob": -0.5, "top_logprobs": [{"id": 70, "logprob": -0.5}, {"id": 71, "logprob": -1.0}]}
    piece = {"index": 0, "text": "C", "logprobs": {"content": [one]}, "finish_reason": None}
    end = {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}
    return sse(*({"choices": [part]} for part in (*[piece] * min(3, given["max_tokens"]), end)))


def with_endpoint(base: Path, answer: Callable[[dict[str, Any]], Response], work: Any = None) -> Any:
    async def run() -> Any:
        try:
            return await (work or ask)(engine)
        finally:
            await engine.close()

    with serving(Odd(answer)) as address:
        engine = OpenAI(url=address, precision="float32").start(base)
        return asyncio.run(run())


def test_an_endpoint_that_tells_the_end_late_ends_with_its_last_token(tiny: Path) -> None:
    found = with_endpoint(tiny, llama_cpp, lambda engine: ask(engine, top_logprobs=2))
    assert ids(found) == [70, 70, 70]
    assert [event.finish_reason for event in found] == [None, None, "stop"]
    assert [one.token_id for one in found[0].top] == [70, 71]


def test_an_endpoint_that_cannot_score_says_so(tiny: Path) -> None:
    with pytest.raises(EngineError, match="cannot score"):
        with_endpoint(tiny, llama_cpp, lambda engine: engine.score(PROMPT, (7,), None))


def strict(given: dict[str, Any]) -> Response:
    """Knows OpenAI's fields alone; names tokens by text."""
    if "return_token_ids" in given:
        return JSONResponse({"error": {"message": "Unrecognized request argument: return_token_ids"}}, 400)
    logprobs = {"tokens": ["C"], "token_logprobs": [-0.5], "top_logprobs": [{"C": -0.5}]}
    return sse({"choices": [{"index": 0, "text": "C", "logprobs": logprobs, "finish_reason": "length"}]})


def test_an_endpoint_that_does_not_name_its_tokens_is_refused_at_the_start(tiny: Path) -> None:
    with pytest.raises(EngineError, match="does not say which tokens it chose"):
        with_endpoint(tiny, strict)


def text_only(given: dict[str, Any]) -> Response:
    return JSONResponse({"error": {"message": "prompt must be a string"}}, 422)


def test_an_endpoint_that_takes_no_token_ids_is_refused_at_the_start(tiny: Path) -> None:
    with pytest.raises(EngineError, match=r"does not take a prompt of token ids.*422: prompt must be a string"):
        with_endpoint(tiny, text_only)


def test_an_adapter_that_the_endpoint_does_not_list_is_refused(tiny: Path, url: str, adapter: tuple[str, Path]) -> None:
    async def load() -> None:
        engine = OpenAI(url=url, precision="float32").start(tiny)
        try:
            await engine.load_adapter(*adapter)
        finally:
            await engine.close()

    with pytest.raises(ModelError, match=f"serves no model called {adapter[0]}"):
        asyncio.run(load())


def test_a_model_that_the_endpoint_does_not_list_is_refused(tiny: Path, url: str) -> None:
    with pytest.raises(ModelError, match="Did you mean 'base'"):
        OpenAI(url=url, model="bases").start(tiny)
    with pytest.raises(EngineError, match="Nothing answers"):
        OpenAI(url="http://127.0.0.1:9/v1").start(tiny)


def test_a_client_that_leaves_ends_the_request_at_the_server(tiny: Path) -> None:
    ended = asyncio.Event()

    def endless(_: dict[str, Any]) -> Response:
        async def pieces() -> AsyncIterator[str]:
            try:
                while True:
                    yield f"data: {json.dumps(chunk(70))}\n\n"
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def leave(engine: Any) -> None:
        request = GenerationRequest(prompt_ids=PROMPT, sampling=Sampling(max_tokens=200))
        async with aclosing(engine.submit(request)) as events:
            await anext(events)
        for _ in range(100):
            if ended.is_set():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the server goes on computing")

    with serving(Odd(endless)) as address:
        with_vllm(tiny, leave, urls=address)


def test_the_key_is_sent(tiny: Path) -> None:
    seen: list[str | None] = []
    server = Odd(lambda _: sse(chunk(70, "stop")))
    app = server.app()

    @app.middleware("http")
    async def look(request: Request, go_on: Any) -> Any:
        seen.append(request.headers.get("authorization"))
        return await go_on(request)

    server.app = lambda: app  # type: ignore[method-assign]
    with serving(server) as address:
        assert httpx.get(f"{address}/models").status_code == 200
        with_vllm(tiny, lambda engine: ask(engine), urls=address, api_key="secret")
    assert seen[0] is None
    assert set(seen[1:]) == {"Bearer secret"}


def test_embeddings_are_refused_by_name_of_the_backend(tiny: Path, url: str) -> None:
    with pytest.raises(RequestRefused, match="The vllm backend does not embed"):
        with_vllm(tiny, lambda engine: engine.embed(PROMPT, None), urls=url)


def test_penalties_biases_and_constraints_are_passed_on(tiny: Path, fake: FakeVLLM, url: str) -> None:
    shaped = {"frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {70: 2.0}}
    schema = Constraint(kind="json_schema", source='{"type": "boolean"}')

    async def both(engine: Any) -> list[TokenEvent]:
        await ask(engine, **shaped)
        return await ask(engine, constraint=schema)

    found = with_vllm(tiny, both, urls=url)
    assert "".join(event.text for event in found) in ("true", "false")
    shaping, constrained = fake.requests[-2:]
    assert {name: shaping[name] for name in shaped} == shaped | {"logit_bias": {"70": 2.0}}
    assert constrained["structured_outputs"]["json"]["type"] == "boolean"


def test_an_answer_that_leaves_its_constraint_ends_with_an_error(tiny: Path) -> None:
    letters = Renderer(tiny).answer_ids("xx")[:2]
    server = Odd(lambda _: sse(chunk(letters[0]), chunk(letters[1], "stop")))
    digits = Constraint(kind="regex", source="[0-9]+")
    with serving(server) as address, pytest.raises(EngineError, match="left the constraint"):
        with_vllm(tiny, lambda engine: ask(engine, constraint=digits), urls=address)
