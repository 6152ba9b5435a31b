"""A renderer whose tokens are words, and a way to prepare files that a test writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RenderingError
from tunesmith.prepare.stage import prepare
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.conversation import Conversation, Rendered, Span
from tunesmith.types.dataset import Check, RenderingProof
from tunesmith.types.recipe import PrepareSpec

Run = Callable[..., StoredDataset]


class WordRenderer:
    """Every word of every message is a token; assistant words are trained; <bad> cannot be rendered."""

    template_digest = "t" * 64
    tokenizer_digest = "w" * 64

    def __init__(self, *, proves: bool = True) -> None:
        self.proves = proves
        self.rendered = 0
        self.proven: list[Conversation] = []

    def render(self, conversation: Conversation) -> Rendered:
        self.rendered += 1
        weights: list[float] = []
        spans = []
        for index, message in enumerate(conversation.messages):
            words = (message.content or "").split()
            if "<bad>" in words:
                raise RenderingError(f"Message {index} holds <bad>.")
            trained = message.role == "assistant"
            start = len(weights)
            weights += [float(trained)] * len(words)
            spans.append(Span(start=start, end=len(weights), message=index, role=message.role, trained=trained))
        return Rendered(token_ids=tuple(range(len(weights))), loss_weights=tuple(weights), spans=tuple(spans))

    def prove(self, conversations: Any) -> RenderingProof:
        self.proven = list(conversations)
        checks = (
            Check(name="prompt is a prefix", passed=True, checked=len(self.proven)),
            Check(name="turns end", passed=self.proves, checked=len(self.proven), detail="row 3 has no end"),
        )
        return RenderingProof(
            template_digest=self.template_digest, tokenizer_digest=self.tokenizer_digest, checks=checks
        )


@pytest.fixture
def renderer() -> WordRenderer:
    return WordRenderer()


@pytest.fixture
def refuted() -> WordRenderer:
    """A renderer whose proof fails."""
    return WordRenderer(proves=False)


@pytest.fixture
def run(tmp_path: Path, renderer: WordRenderer) -> Run:
    """Write files (name -> text or bytes) and prepare them; further keywords are fields of the spec."""

    def prepared(files: Mapping[str, str | bytes], *, by: WordRenderer = renderer, **fields: Any) -> StoredDataset:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        given = {
            "sources": [{"path": name} for name in files],
            "split": {"validation": 0, "test": 0},
            "max_drop_rate": 1.0,
            **fields,
        }
        spec = PrepareSpec.model_validate(given)
        return prepare(spec, renderer=by, base_dir=tmp_path, home=tmp_path / "home")

    return prepared
