"""What a row asks and what it answers, as plain text to show to a person."""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.types.conversation import Message
from tunesmith.types.preference import Labelled, Preference, Prompt, Row, Text

__all__ = ["asked", "said"]


def asked(content: Row) -> str:
    """The prompt without its system messages, roles named from the second turn on."""
    turns = [message for message in content.prompt if message.role not in ("system", "developer")]
    return _turns(turns)


def said(content: Row) -> str:
    """The answer; of a preference the chosen one; of a judged answer whether it is wanted; a text itself."""
    if isinstance(content, Labelled):
        return "wanted" if content.label else "unwanted"
    if isinstance(content, Prompt):
        return content.reference
    if isinstance(content, Text):
        return content.text
    if isinstance(content, Preference):
        return _turns(content.chosen)
    return _turns(content.messages[len(content.prompt) :])


def _turns(messages: Iterable[Message]) -> str:
    listed = tuple(messages)
    if len(listed) == 1:
        return _text(listed[0])
    return "\n".join(f"{message.role}: {_text(message)}" for message in listed)


def _text(message: Message) -> str:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls]
    return " ".join(filter(None, [message.content, *calls]))
