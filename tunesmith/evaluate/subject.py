"""The contract of what can be evaluated: something that answers items, over HTTP or in this process."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

__all__ = ["Asked", "Reply", "Subject"]


class Asked(Value):
    """How answers are drawn: greedy at temperature 0."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None


class Reply(NamedTuple):
    """One answer. Times are seconds since the request was sent; `tokens` are the server's count of the answer's."""

    text: str
    tokens: int
    prompt_tokens: int
    seconds: float
    first_token_seconds: float
    finish_reason: str
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[float, ...] = ()
    """log-probability of each token of the answer; empty where the server gives none"""


class Subject(Protocol):
    """A model under test with the way it is asked (its prompt, its examples)."""

    @property
    def name(self) -> str:
        """What it is called in the report: unique among those that are compared."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that its answers depend on besides the item (model, digest, prompt, examples): the key of the cache."""

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        """The answer to `messages` (the item's, with earlier answers where it has followups).

        Raises EvaluationError when it cannot be had after all retries.
        """

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        """(sum of natural-log probabilities of `answer` after the item's messages, its tokens); None where the server
        does not give it. Several answers to one item share its prompt's computation where the server can.
        """
