"""What the endpoints work with: an engine, the renderer of its base, the catalogue of models, the platform's stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tunesmith.engine.engine import Engine
from tunesmith.serve.catalogue import Catalogue
from tunesmith.serve.platform import Platform
from tunesmith.serve.shelf import AdapterShelf
from tunesmith.types.conversation import Message
from tunesmith.types.tool_syntax import ToolSyntax

__all__ = ["PromptRenderer", "Service"]


class PromptRenderer(Protocol):
    """The part of `tunesmith.models.template.Renderer` that serving needs."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids of the tokens that end an answer."""

    @property
    def tool_syntax(self) -> ToolSyntax | None:
        """How the model writes tool calls; None when they cannot be read."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), /) -> tuple[int, ...]:
        """Ids of a prompt, up to where the answer begins."""

    def text_ids(self, text: str, /) -> tuple[int, ...]:
        """Ids of a plain text, opened as the tokenizer opens every text."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Text of `ids`, special tokens left out."""

    def piece(self, token_id: int, /) -> str:
        """Text of one token, special tokens shown by name."""


class Service(NamedTuple):
    """One base model with all its releases, ready to answer."""

    engine: Engine
    renderer: PromptRenderer
    catalogue: Catalogue
    shelf: AdapterShelf
    platform: Platform
