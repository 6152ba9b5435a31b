"""The texts of a row, whatever its kind: to read, to search, and to rewrite.

A row holds messages (with tool calls, whose arguments are JSON texts) and sometimes plain texts such as a reference.
Metadata is no text of a row: it is never rendered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tunesmith.types.conversation import Message
from tunesmith.types.preference import Row

__all__ = ["Passage", "answers", "passages", "question", "rewritten", "spoken"]

_INSTRUCTING = ("system", "developer")


class Passage(NamedTuple):
    """One text of a row; `role` is its message's role, or the field's name where it is in no message."""

    role: str
    text: str


def passages(row: Row) -> Iterator[Passage]:
    """Every non-empty text of the row, in order; of a tool call its arguments."""
    for name, value in _fields(row):
        if isinstance(value, str):
            if value:
                yield Passage(name, value)
            continue
        for message in value:
            if message.content:
                yield Passage(message.role, message.content)
            for call in message.tool_calls:
                yield Passage(message.role, call.function.arguments)


def rewritten(row: Row, change: Callable[[str], str]) -> Row:
    """The row with every text replaced by what `change` makes of it; the same object when nothing changes.

    In the arguments of tool calls the texts inside the JSON are changed, so it stays JSON.
    """
    updates: dict[str, Any] = {}
    for name, value in _fields(row):
        changed = change(value) if isinstance(value, str) else tuple(_message(each, change) for each in value)
        if changed != value:
            updates[name] = changed
    return row.model_copy(update=updates) if updates else row


def question(row: Row) -> str:
    """What precedes the wanted answer, system messages left out; '' where a row has no answer apart."""
    if not _answered(row):
        return ""
    return "\n".join(message.content or "" for message in row.conversations[0].prompt if _says(message))


def answers(row: Row) -> tuple[str, ...]:
    """The answers a row teaches or compares, the wanted one first; none where a row has no answer apart."""
    if not _answered(row):
        return ()
    return tuple(conversation.reference for conversation in row.conversations)


def spoken(row: Row) -> str:
    """All texts of the row but system messages, which many rows share, joined by line ends."""
    return "\n".join(passage.text for passage in passages(row) if passage.role not in _INSTRUCTING)


def _answered(row: Row) -> bool:
    return any(message.role == "assistant" for message in row.conversations[0].messages)


def _says(message: Message) -> bool:
    return bool(message.content) and message.role not in _INSTRUCTING


def _fields(row: Row) -> Iterator[tuple[str, Any]]:
    """(name, value) of the fields that hold messages or a text."""
    for name in type(row).model_fields:
        value = getattr(row, name)
        if isinstance(value, str) or (isinstance(value, tuple) and value and isinstance(value[0], Message)):
            yield name, value


def _message(message: Message, change: Callable[[str], str]) -> Message:
    updates: dict[str, Any] = {}
    if message.content and (content := change(message.content)) != message.content:
        updates["content"] = content
    calls = tuple(
        call.model_copy(update={"function": call.function.model_copy(update={"arguments": arguments})})
        if (arguments := _arguments(call.function.arguments, change)) != call.function.arguments
        else call
        for call in message.tool_calls
    )
    if calls != message.tool_calls:
        updates["tool_calls"] = calls
    return message.model_copy(update=updates) if updates else message


def _arguments(text: str, change: Callable[[str], str]) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return change(text)
    changed = _leaves(found, change)
    return text if changed == found else json.dumps(changed, ensure_ascii=False)


def _leaves(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_leaves(each, change) for each in value]
    return {key: _leaves(each, change) for key, each in value.items()} if isinstance(value, dict) else value
