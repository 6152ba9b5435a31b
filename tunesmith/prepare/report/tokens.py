"""Sampled rows as the model sees them: every token, and whether it is learned or only read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple, Protocol

from tunesmith.types.conversation import Conversation, Rendered
from tunesmith.types.dataset import Example
from tunesmith.types.preference import Labelled, Preference, Row

__all__ = ["MaskedRow", "Shows", "Stretch", "masked_rows", "titles"]

_MOST_TOKENS = 400


class Shows(Protocol):
    """What this view needs of `tunesmith.models.template.Renderer`."""

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids and loss weights of one conversation."""

    def piece(self, token_id: int) -> str:
        """Text of one token."""


class Stretch(NamedTuple):
    """Tokens that follow each other and are all learned, or all only read."""

    trained: bool
    tokens: tuple[str, ...]


class MaskedRow(NamedTuple):
    """One sequence of a row; `hidden` tokens at its end are not shown."""

    split: str
    place: str
    title: str
    stretches: tuple[Stretch, ...]
    tokens: int
    trained: int
    hidden: int


def masked_rows(split: str, examples: Iterable[Example], renderer: Shows) -> Iterable[MaskedRow]:
    """Every sequence of `examples`, at most 400 tokens of each."""
    for example in examples:
        for title, conversation in zip(titles(example.content), example.content.conversations, strict=True):
            yield _masked(split, f"{example.source}:{example.line}", title, renderer.render(conversation), renderer)


def titles(content: Row) -> tuple[str, ...]:
    """What each sequence of a row is; nothing for a plain conversation."""
    if isinstance(content, Preference):
        return ("chosen", "rejected")
    if isinstance(content, Labelled):
        return ("wanted" if content.label else "unwanted",)
    return ("",)


def _masked(split: str, place: str, title: str, rendered: Rendered, renderer: Shows) -> MaskedRow:
    shown = list(zip(rendered.token_ids, rendered.loss_weights, strict=True))[:_MOST_TOKENS]
    stretches = tuple(
        Stretch(trained, tuple(renderer.piece(token) for token, _ in group))
        for trained, group in groupby(shown, key=lambda pair: pair[1] > 0)
    )
    tokens = len(rendered.token_ids)
    return MaskedRow(split, place, title, stretches, tokens, rendered.trained_tokens, tokens - len(shown))
