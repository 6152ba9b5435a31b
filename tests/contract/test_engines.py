"""Every engine backend passes the same contract."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from tunesmith import plugins
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


def test_backends_are_found() -> None:
    assert set(plugins.names(FOLDER)) >= {"embedded", "echo"}


@pytest.mark.parametrize("check", [*CHECKS, *EMBEDDING_CHECKS], ids=lambda check: cast(Any, check).__name__)
@pytest.mark.parametrize("name", plugins.names(FOLDER))
def test_contract(name: str, check: Any, base: Path, adapters: dict[str, Path]) -> None:
    options = plugins.load(FOLDER, name)
    # In bfloat16 an answer may depend on its neighbours by rounding; float32 promises that it does not.
    exact = {"precision": "float32"} if "precision" in options.model_fields else {}
    engine = cast(Any, options.model_validate(exact)).start(base)
    renderer = Renderer(base)
    prompts = [renderer.prompt_ids([Message(role="user", content=text)]) for text in QUESTIONS]
    asyncio.run(run_check(check, Subject(engine, renderer, prompts, adapters)))


@pytest.mark.parametrize("name", plugins.names(FOLDER))
def test_options_are_a_frozen_value_that_survives_json(name: str) -> None:
    options = plugins.load(FOLDER, name)()
    assert type(options).model_validate_json(options.model_dump_json()) == options
    with pytest.raises(ValueError, match="frozen"):
        cast(Any, options).precision = "x"
