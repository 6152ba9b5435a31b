"""The way a model is asked: with which system prompt, behind which examples."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

__all__ = ["AS_WRITTEN", "Prompting", "few_shot", "not_asked"]


class Prompting(Value):
    """`system` opens conversations that have no system message of their own; `own_system` False leaves those out too.

    `examples` are turns of a user and the assistant, shown between the system message and the question (few-shot).
    """

    system: str | None = None
    own_system: bool = True
    examples: tuple[Message, ...] = ()

    def applied(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation as the model gets it."""
        opening = tuple(message for message in messages if message.role in ("system", "developer"))
        rest = tuple(message for message in messages if message.role not in ("system", "developer"))
        if not self.own_system:
            opening = ()
        if not opening and self.system is not None:
            opening = (Message(role="system", content=self.system),)
        return (*opening, *self.examples, *rest)


AS_WRITTEN = Prompting()
"""Every item as the suite writes it."""


def not_asked(items: Sequence[Item], asked: Sequence[Item]) -> tuple[Item, ...]:
    """Those of `items` whose question is none of what `asked` asks, apart from case and spaces."""
    questions = {_plain(each) for item in asked for each in (*_said(item), *item.followups)}
    return tuple(item for item in items if not questions & {_plain(each) for each in (*_said(item), *item.followups)})


def _said(item: Item) -> Iterator[str]:
    return (message.content or "" for message in item.messages if message.role == "user")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def few_shot(items: Sequence[Item], count: int, seed: int = 0) -> tuple[Message, ...]:
    """`count` examples as turns: the last question of items with a reference, drawn without replacement.

    Take them from items that are `not_asked`: a model that has seen its own question answers nothing.
    """
    usable = [item for item in items if item.reference and not item.followups and item.messages[-1].role == "user"]
    drawn = random.Random(seed).sample(usable, min(count, len(usable)))
    pairs = ((item.messages[-1], Message(role="assistant", content=item.reference)) for item in drawn)
    return tuple(message for pair in pairs for message in pair)
