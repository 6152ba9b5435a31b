"""The contract of augmentation: a way makes a new row of a given one, with a model's help or without.

A way is a plugin in `tunesmith.prepare.augment`: a frozen Value whose fields are its options, with one method, `make`.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field, model_validator

from tunesmith.prepare.shingles import jaccard, shingles
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message

__all__ = ["Ask", "AskFailed", "Drawing", "Rewriting", "Unmade", "Way", "changed_text", "similarity", "text_of"]

Side = Literal["input", "output"]


class AskFailed(RuntimeError):
    """The model could not be asked."""


class Unmade(RuntimeError):
    """No row was made; `reason` is the ledger's word for why: refused, cut_off or empty."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ask(Protocol):
    """A model to be asked."""

    async def __call__(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
        """Its answer; `options` are fields of chat completions.

        Raises:
            AskFailed: the server did not answer.
            Unmade: it refused, or its answer was cut off.
        """


class Drawing(NamedTuple):
    """What one new row is made with: a source of chance of its own, a seed for the model, the model."""

    random: random.Random
    seed: int
    ask: Ask

    async def rewrite(self, instruction: str, text: str) -> str:
        """What the model makes of `text` when told `instruction`, without quotes around it. Raises as `ask` does."""
        messages = ({"role": "system", "content": instruction}, {"role": "user", "content": text})
        return await self.say(messages)

    async def say(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The model's answer, trimmed, without quotes around it. Raises as `ask` does; Unmade when it is empty."""
        said = (await self.ask(messages, {"temperature": 1.0, "seed": self.seed})).strip()
        if len(said) > 1 and said[0] + said[-1] in ('""', "''", "“”"):
            said = said[1:-1].strip()
        if not said:
            raise Unmade("empty")
        return said


class Way(Value):
    """A way to make rows; `model` says whether it asks one, `side` which text it changes.

    `least` and `most` bound the similarity (Jaccard, of character trigrams) of the new text and its parent's: with less
    it says something else, with more it says nothing new.
    """

    model: ClassVar[bool] = True
    side: Side = "input"
    least: float = Field(default=0.1, ge=0.0, le=1.0)
    most: float = Field(default=0.95, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _is_a_band(self) -> Way:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) is above most ({self.most})")
        return self

    @abstractmethod
    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """A new row of `row`. Raises AskFailed or Unmade."""


class Rewriting(Way):
    """A way that asks a model, with one `instruction`, to write the text anew."""

    instruction: ClassVar[str]

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with one text rewritten."""
        return changed_text(row, self.side, await drawing.rewrite(self.instruction, text_of(row, self.side)))


def text_of(row: Conversation, side: Side) -> str:
    """The last user message before the answer, or the answer; '' when there is none."""
    place = _place(row, side)
    return "" if place is None else row.messages[place].content or ""


def changed_text(row: Conversation, side: Side, text: str) -> Conversation:
    """The row with `text` in that place. Raises Unmade when there is no such place."""
    place = _place(row, side)
    if place is None:
        raise Unmade("nothing_to_change")
    message = row.messages[place].model_copy(update={"content": text})
    return row.model_copy(update={"messages": (*row.messages[:place], message, *row.messages[place + 1 :])})


def similarity(one: Conversation, other: Conversation, side: Side) -> float:
    """Jaccard similarity of the two texts' character trigrams: 1 for the same letters in the same runs."""
    first, second = (shingles(text_of(row, side), "characters", 3) for row in (one, other))
    return jaccard(first, second)


def _place(row: Conversation, side: Side) -> int | None:
    wanted = {"input": "user", "output": "assistant"}[side]
    end = len(row.prompt) + (side == "output")
    return next((index for index in range(end - 1, -1, -1) if _says(row.messages[index], wanted)), None)


def _says(message: Message, role: str) -> bool:
    return message.role == role and bool(message.content)
