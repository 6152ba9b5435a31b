"""The vLLM and openai backends against the real vLLM: `make test-vllm` makes its environment and runs this.

Two replicas are started by the backend itself, pass the engine contract, are compared with the embedded engine and
with a parity certificate, and one of them is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx
import pytest

from tunesmith.engine.backends.embedded import Embedded
from tunesmith.engine.backends.openai import OpenAI
from tunesmith.engine.backends.vllm import VLLM
from tunesmith.engine.engine import GenerationRequest, Sampling, TokenEvent
from tunesmith.engine.parity import read_engine, require_parity
from tunesmith.errors import ModelError
from tunesmith.models.template import Renderer
from tunesmith.testing.adapters import make_adapter, make_variant
from tunesmith.testing.engine_contract import CHECKS, Subject, run_check
from tunesmith.testing.shaping_contract import penalties_are_followed_or_refused
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message
from tunesmith.types.parity import ParityCertificate

PYTHON = os.environ.get("TUNESMITH_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="needs an environment with vLLM: make test-vllm"),
    pytest.mark.timeout(900),
]
QUESTIONS = ("Where is my money?", "I was charged twice, nobody answers me and I am angry.", "कार्ड खो गया")
# vLLM's kernels for the processor take the slot -1 of a request without an adapter for the last slot: in a batch with
# adapters the base would answer in the voice of the one that is there. So there are more slots than these tests fill.
SLOTS = 200
CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}


class Running(NamedTuple):
    """Two replicas and the engine that started them."""

    base: Path
    adapters: dict[str, Path]
    owner: Any
    urls: tuple[str, ...]

    def prompts(self) -> list[tuple[int, ...]]:
        renderer = Renderer(self.base)
        return [renderer.prompt_ids([Message(role="user", content=text)]) for text in QUESTIONS]

    def attach(self) -> Any:
        return VLLM(urls=self.urls, precision="float32", max_lora_rank=16, look_seconds=0.5).start(self.base)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("vllm")
    base = make_tiny_model(folder / "tiny", hidden=128)  # heads of 32: vLLM has kernels for no smaller ones
    wide = make_adapter(base, folder / "wide", rank=4, rslora=True)
    narrow = make_adapter(base, folder / "narrow", rank=8, targets=["q_proj", "v_proj"], seed=1)
    owner: Any = VLLM(
        python=PYTHON,
        replicas=2,
        precision="float32",
        max_lora_rank=16,
        context=1024,
        max_loras=SLOTS,
        arguments=("--enforce-eager", "--max-cpu-loras", str(SLOTS)),
        environment=CPU,
        look_seconds=0.5,
    ).start(base)
    urls = tuple(replica.url for replica in owner._targets._replicas)
    for url in urls:  # the first request compiles
        body = {"model": "base", "prompt": [5, 6, 7], "max_tokens": 2}
        httpx.post(f"{url}/completions", json=body, timeout=300).raise_for_status()
    yield Running(base, {wide: folder / "wide", narrow: folder / "narrow"}, owner, urls)
    asyncio.run(owner.close())


async def ask(engine: Any, prompt: tuple[int, ...], adapter: str | None = None, **sampling: Any) -> list[TokenEvent]:
    request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(**{"max_tokens": 8} | sampling))
    return [event async for event in engine.submit(request)]


# What this check asks of penalties holds for logits as small as the usual tiny model's, whose heads are too small for
# vLLM; `test_penalties_and_biases_are_those_of_the_embedded_engine` is the stricter one.
CHOSEN = [check for check in CHECKS if check is not penalties_are_followed_or_refused]


@pytest.mark.parametrize("check", CHOSEN, ids=lambda check: cast(Any, check).__name__)
def test_contract(check: Any, running: Running) -> None:
    subject = Subject(running.attach(), Renderer(running.base), running.prompts(), running.adapters)
    asyncio.run(run_check(check, subject))


@pytest.mark.parametrize("check", CHOSEN, ids=lambda check: cast(Any, check).__name__)
def test_contract_of_an_endpoint(check: Any, running: Running) -> None:
    for digest, path in running.adapters.items():
        body = {"lora_name": digest, "lora_path": str(path), "load_inplace": True}
        httpx.post(f"{running.urls[0]}/load_lora_adapter", json=body, timeout=60).raise_for_status()
    engine = OpenAI(url=running.urls[0], precision="float32").start(running.base)
    asyncio.run(run_check(check, Subject(engine, Renderer(running.base), running.prompts(), running.adapters)))


def test_it_computes_what_the_embedded_engine_computes(running: Running) -> None:
    digest, path = next(iter(running.adapters.items()))

    async def read(engine: Any) -> Any:
        try:
            await engine.load_adapter(digest, path)
            return await read_engine(engine, running.prompts(), digest)
        finally:
            await engine.close()

    async def against(certificate: ParityCertificate, wrong: bool) -> Any:
        engine = running.attach()
        try:
            other = next(one for one in running.adapters if one != digest)
            await engine.load_adapter(digest, path)
            await engine.load_adapter(other, running.adapters[other])
            return await require_parity(
                certificate.model_copy(update={"adapter_digest": other}) if wrong else certificate, engine
            )
        finally:
            await engine.close()

    expected = asyncio.run(read(Embedded(precision="float32").start(running.base)))
    certificate = ParityCertificate(
        adapter_digest=digest, base_digest="", template_digest="", precision="float32", device="cpu", bound=0.01,
        readings=expected, agreements=(),
    )  # fmt: skip
    agreement = asyncio.run(against(certificate, wrong=False))
    assert agreement.tokens >= 8
    assert agreement.largest_difference < 1e-3
    with pytest.raises(ModelError, match="does not compute what was trained"):
        asyncio.run(against(certificate, wrong=True))


@pytest.mark.parametrize(
    "shaping",
    [
        {"frequency_penalty": 2.0},
        {"frequency_penalty": -1.5, "presence_penalty": 0.5},
        {"presence_penalty": 2.0, "logit_bias": {70: 5.0, 71: 4.0, 72: -100.0}},
    ],
    ids=str,
)
def test_penalties_and_biases_are_those_of_the_embedded_engine(running: Running, shaping: dict[str, Any]) -> None:
    async def said(engine: Any) -> list[list[int]]:
        try:
            return [
                [event.token_id for event in await ask(engine, prompt, max_tokens=24, **shaping)]
                for prompt in running.prompts()
            ]
        finally:
            await engine.close()

    plain = asyncio.run(said(Embedded(precision="float32").start(running.base)))
    assert asyncio.run(said(running.attach())) == plain


def test_a_kind_that_it_does_not_serve_is_refused(running: Running, tmp_path: Path) -> None:
    digest = make_variant(running.base, tmp_path / "dora", "dora")

    async def load() -> None:
        engine = running.attach()
        try:
            await engine.load_adapter(digest, tmp_path / "dora")
        finally:
            await engine.close()

    with pytest.raises(ModelError, match="more than a plain LoRA"):
        asyncio.run(load())
    # vLLM itself agrees.
    body = {"lora_name": digest, "lora_path": str(tmp_path / "dora")}
    assert httpx.post(f"{running.urls[0]}/load_lora_adapter", json=body, timeout=60).status_code >= 400


def names(url: str) -> set[str]:
    try:
        return {card["id"] for card in httpx.get(f"{url}/models").json()["data"]}
    except httpx.TransportError:
        return set()


def test_a_killed_replica_comes_back_with_its_adapters(running: Running) -> None:
    digest, path = next(iter(running.adapters.items()))
    owner, prompt = running.owner, running.prompts()[0]

    async def drill() -> None:
        await owner.load_adapter(digest, path)
        said = [event.token_id for event in await ask(owner, prompt, digest)]
        os.killpg(owner._targets._processes.ids[0], signal.SIGKILL)
        for _ in range(4):
            assert [event.token_id for event in await ask(owner, prompt, digest)] == said
        deadline = time.monotonic() + 300
        while digest not in names(running.urls[0]):
            assert time.monotonic() < deadline, "the killed replica did not come back with its adapter"
            assert [event.token_id for event in await ask(owner, prompt, digest)] == said
            await asyncio.sleep(1.0)
        assert [[event.token_id for event in await ask(owner, prompt, digest)] for _ in range(2)] == [said, said]
        await owner.unload_adapter(digest)

    asyncio.run(drill())
