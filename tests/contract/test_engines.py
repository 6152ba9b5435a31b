"""Every engine backend passes the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.fake_vllm import FakeVLLM, serving
from tunesmith import plugins
from tunesmith.engine.backends._lora import is_plain_lora
from tunesmith.models.template import Renderer
from tunesmith.testing.adapters import make_adapter, make_method_adapter, make_variant
from tunesmith.testing.embedding_contract import EMBEDDING_CHECKS
from tunesmith.testing.engine_contract import CHECKS, Subject, run_check
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message

FOLDER = "tunesmith.engine.backends"
QUESTIONS = ("Where is my money?", "I was charged twice, nobody answers me and I am angry.", "कार्ड खो गया")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = [tmp_path_factory.mktemp("adapter") for _ in range(5)]
    wide = make_adapter(base, folders[0], rank=4)
    narrow = make_adapter(base, folders[1], rank=8, targets=["q_proj", "v_proj"], seed=1)
    dora, ia3 = (make_variant(base, folder, kind) for folder, kind in zip(folders[2:4], ("dora", "ia3"), strict=True))
    prefix = make_method_adapter(base, folders[4], "ptuning", tokens=4)
    return dict(zip((wide, narrow, dora, ia3, prefix), folders, strict=True))


@pytest.fixture(scope="module")
def vllm(base: Path) -> Iterator[str]:
    """Addresses of two fake vLLM servers."""
    with serving(FakeVLLM(base)) as first, serving(FakeVLLM(base)) as second:
        yield f"{first},{second}"


@pytest.fixture(scope="module")
def endpoint(base: Path, adapters: dict[str, Path]) -> Iterator[str]:
    """Address of an endpoint that serves all adapters under their digests already."""
    fake = FakeVLLM(base, any_adapter=True)
    with serving(fake) as url:
        for digest, path in adapters.items():
            body = {"lora_name": digest, "lora_path": str(path)}
            assert httpx.post(f"{url}/load_lora_adapter", json=body).status_code == 200
        yield url


def options_for(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the backend needs to run here."""
    if name == "vllm":
        return {"urls": request.getfixturevalue("vllm"), "precision": "float32", "look_seconds": 0.2}
    if name == "openai":
        return {"url": request.getfixturevalue("endpoint"), "precision": "float32"}
    # In bfloat16 an answer may depend on its neighbours by rounding; float32 promises that it does not.
    return {"precision": "float32"} if "precision" in plugins.load(FOLDER, name).model_fields else {}


def test_backends_are_found() -> None:
    assert set(plugins.names(FOLDER)) >= {"embedded", "echo", "openai", "vllm"}


def checks_of(name: str) -> list[Any]:
    """Servers that generate give no hidden states, so engines over HTTP do not embed."""
    return [*CHECKS, *(() if name in ("openai", "vllm") else EMBEDDING_CHECKS)]


@pytest.mark.parametrize(
    ("name", "check"), [(name, check) for name in plugins.names(FOLDER) for check in checks_of(name)]
)
def test_contract(name: str, check: Any, base: Path, adapters: dict[str, Path], request: pytest.FixtureRequest) -> None:
    options = plugins.load(FOLDER, name).model_validate(options_for(name, request))
    engine = cast(Any, options).start(base)
    renderer = Renderer(base)
    prompts = [renderer.prompt_ids([Message(role="user", content=text)]) for text in QUESTIONS]
    served = {digest: path for digest, path in adapters.items() if name != "vllm" or is_plain_lora(path)}
    asyncio.run(run_check(check, Subject(engine, renderer, prompts, served)))


@pytest.mark.parametrize("name", plugins.names(FOLDER))
def test_options_are_a_frozen_value_that_survives_json(name: str) -> None:
    options = plugins.load(FOLDER, name)()
    assert type(options).model_validate_json(options.model_dump_json()) == options
    with pytest.raises(ValueError, match="frozen"):
        cast(Any, options).precision = "x"
