"""Writes rows in the formats other tools read: chat, alpaca, completion, preference.

What a format cannot say is refused. Metadata is written as fields of its own, where it is read back from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from tunesmith.errors import DataError, Problem
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Preference, Prompt, Row

__all__ = ["WRITERS", "Target"]

Target = Literal["chat", "alpaca", "completion", "preference"]


def _chat(content: Row) -> dict[str, Any]:
    """OpenAI's chat form, tools and weights included; a prompt's own fields stay beside it."""
    if isinstance(content, Prompt):
        return {**json.loads(content.metadata.get("item", "{}")), **_said(content.messages, content.tools)}
    conversation = _conversation(content, "chat")
    return {**conversation.metadata, **_said(conversation.messages, conversation.tools)}


def _alpaca(content: Row) -> dict[str, Any]:
    """instruction, input, output; earlier turns as history."""
    system, turns, metadata = _turns(content, "alpaca")
    pairs = [[turns[index], turns[index + 1]] for index in range(0, len(turns), 2)]
    row: dict[str, Any] = {**metadata, "instruction": pairs[-1][0], "input": "", "output": pairs[-1][1]}
    return {**row, **({"system": system} if system else {}), **({"history": pairs[:-1]} if pairs[:-1] else {})}


def _completion(content: Row) -> dict[str, Any]:
    """prompt and completion, each a text."""
    system, turns, metadata = _turns(content, "completion")
    if len(turns) != 2:
        _refuse("several turns do not fit prompt and completion", "write it with --to chat or --to alpaca")
    return {**metadata, "prompt": turns[0], "completion": turns[1], **({"system": system} if system else {})}


def _preference(content: Row) -> dict[str, Any]:
    """prompt, chosen and rejected, each a list of messages."""
    if not isinstance(content, Preference):
        _refuse(f"a {content.shape} row has no rejected answer", "write it with --to chat")
    answers = {"chosen": content.chosen, "rejected": content.rejected}
    row = {
        "prompt": list(map(_plain, content.prompt)),
        **{key: list(map(_plain, said)) for key, said in answers.items()},
    }
    tools = {"tools": list(content.tools)} if content.tools else {}
    return {**content.metadata, **row, **tools, **({"margin": content.margin} if content.margin else {})}


WRITERS: Mapping[Target, Callable[[Row], dict[str, Any]]] = {
    "chat": _chat,
    "alpaca": _alpaca,
    "completion": _completion,
    "preference": _preference,
}
"""The fields of a row in each format. Each raises DataError for a row that the format cannot say."""


def _conversation(content: Row, target: str) -> Conversation:
    if not isinstance(content, Conversation):
        fix = "write it with --to preference" if content.shape == "preference" else f"{target} rows are conversations"
        _refuse(f"a {content.shape} row is no conversation", fix)
    return content


def _turns(content: Row, target: str) -> tuple[str, list[str], Mapping[str, str]]:
    """The system prompt, the texts of user and assistant in turn, and the metadata."""
    conversation = _conversation(content, target)
    opening = [message for message in conversation.messages if message.role in ("system", "developer")]
    rest = conversation.messages[len(opening) :]
    if conversation.tools or any(message.role == "tool" or message.tool_calls for message in rest):
        _refuse(f"{target} rows have no tools", "write it with --to chat")
    if any(message.weight == 0 for message in rest):
        _refuse(f"{target} rows cannot leave a turn out of the loss (weight 0)", "write it with --to chat")
    if [message.role for message in rest] != ["user", "assistant"] * (len(rest) // 2):
        _refuse(f"{target} rows open with one system prompt and then alternate", "write it with --to chat")
    system = "\n\n".join(message.content or "" for message in opening)
    return system, [message.content or "" for message in rest], conversation.metadata


def _said(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"messages": list(map(_plain, messages)), **({"tools": list(tools)} if tools else {})}


def _plain(message: Message) -> dict[str, Any]:
    given = message.model_dump(mode="json", exclude_defaults=True)
    return {"role": message.role, "content": message.content, **given}


def _refuse(message: str, fix: str) -> NoReturn:
    raise DataError([Problem(message, fix=fix)])
