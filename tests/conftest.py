"""Fixtures that many tests share: the tiny model, and no way out to a model hub."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.types.conversation import Conversation, Message


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama with a byte tokenizer."""
    from tunesmith.testing.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def base_home() -> Path:
    """A home that keeps the converted base model between test runs."""
    return Path(__file__).parents[1] / ".cache" / "tunesmith"


@pytest.fixture
def chat() -> Callable[..., Conversation]:
    """chat("system", "question", "answer", "question", "answer", ...) -> Conversation."""

    def build(system: str | None, *turns: str) -> Conversation:
        messages = [Message(role="system", content=system)] if system else []
        for index, text in enumerate(turns):
            messages.append(Message(role="assistant" if index % 2 else "user", content=text))
        return Conversation(messages=tuple(messages))

    return build
