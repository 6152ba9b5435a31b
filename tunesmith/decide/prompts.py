"""Prompts to try: the recipe's, the user's, and a few that anybody would write from the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.types.conversation import Message
from tunesmith.types.dataset import Example

__all__ = ["Prompt", "derived_prompts", "listed_prompts", "with_prompt"]

MOST_LISTED = 200


class Prompt(NamedTuple):
    """A system prompt with the name it goes by and where it is from."""

    name: str
    text: str
    note: str


def derived_prompts(own: str | None, labels: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts made from the recipe's own and the labels: the labels listed, and a strict form of it.

    Without labels there is one that asks for the answer alone. Labels beyond 200 are not listed.
    """
    task = own.strip() if own else "Answer the user's message."
    if not labels or len(labels) > MOST_LISTED:
        strict = f"{task}\nGive the answer only, in as few words as possible. No explanation."
        return (Prompt("answer only", strict, "the recipe's prompt, and to answer in few words"),)
    listed = ", ".join(labels)
    lines = "\n".join(f"- {label}" for label in labels)
    return (
        Prompt("labels listed", f"{task}\nThe possible answers: {listed}.", "the recipe's prompt and all labels"),
        Prompt(
            "labels listed, strict",
            f"Choose the one label that fits the user's message.\nLabels:\n{lines}\n"
            "Reply with one label from the list, spelt exactly as above, and nothing else.",
            "all labels one a line, and to copy one",
        ),
    )


def listed_prompts(own: str | None, given: Sequence[str], labels: Sequence[str]) -> tuple[Prompt, ...]:
    """All prompts to try, each text once: the recipe's (when its rows share one), the user's, the derived ones."""
    first = (Prompt("recipe's prompt", own, "as the recipe says it"),) if own else ()
    users = tuple(Prompt(f"prompt {place}", text, "given with --prompt") for place, text in enumerate(given, start=1))
    found: dict[str, Prompt] = {}
    for prompt in (*first, *users, *derived_prompts(own, labels)):
        found.setdefault(prompt.text.strip(), prompt)
    return tuple(found.values())


def with_prompt(example: Example, text: str | None, between: Sequence[Message] = ()) -> Example:
    """The row with `text` as its only system prompt (None: its own stays) and `between` it and the conversation."""
    messages = example.conversation.messages
    if text is None:
        opening = tuple(message for message in messages if message.role in ("system", "developer"))
    else:
        opening = (Message(role="system", content=text),) if text else ()
    rest = tuple(message for message in messages if message.role not in ("system", "developer"))
    changed = example.conversation.model_copy(update={"messages": (*opening, *between, *rest)})
    return example.model_copy(update={"content": changed})
