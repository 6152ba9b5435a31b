"""Who may speak after whom in a chat row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.types.conversation import Message

__all__ = ["order_problems"]


def order_problems(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[Problem]:
    """What is wrong with the order of messages that are each well-formed.

    After any system messages a user speaks first; user and assistant alternate; the calls of an assistant are each
    answered by one tool message before anybody else speaks (only the last message may leave calls open); the last
    message is an assistant's, and at least one assistant message has a weight other than 0.
    """
    problems: list[Problem] = []
    offered = [tool["function"]["name"] for tool in tools]
    open_calls: list[str] = []
    before: str | None = None
    for index, message in enumerate(messages):
        field = f"messages[{index}]"
        if message.role == "tool":
            problems.extend(_answer_problems(message, open_calls, field))
        elif open_calls:
            fix = f'put {{"role": "tool", "tool_call_id": "{open_calls[0]}", "content": ...}} before it'
            problems.append(
                Problem(
                    f"tool call {open_calls[0]!r} has no answer before this {message.role} message",
                    field=field,
                    fix=fix,
                )
            )
            open_calls = []
        if message.role in ("user", "assistant"):
            problems.extend(_turn_problems(message.role, before, field))
        if message.role not in ("system", "developer"):
            before = message.role
        problems.extend(_call_problems(message, offered, field))
        open_calls = open_calls + [call.id for call in message.tool_calls]
    return problems + _end_problems(messages)


def _turn_problems(role: str, before: str | None, field: str) -> list[Problem]:
    if role == "assistant" and before is None:
        return [
            Problem("the conversation starts with the assistant", field=field, fix="put the user's message before it")
        ]
    if role == before:
        return [
            Problem(f"two {role} messages in a row", field=field, fix="merge the two, or add the turn between them")
        ]
    return []


def _answer_problems(message: Message, open_calls: list[str], field: str) -> list[Problem]:
    """Problems of a tool message; takes the call it answers off `open_calls`."""
    if message.tool_call_id in open_calls:
        open_calls.remove(message.tool_call_id)
        return []
    if message.tool_call_id is None:
        return [Problem("is missing", field=f"{field}.tool_call_id", fix="name the id of the call it answers")]
    close = nearest(message.tool_call_id, open_calls)
    fix = f"did you mean {close!r}?" if close else "put the assistant's tool_calls before it"
    return [Problem(f"answers no open tool call: {message.tool_call_id!r}", field=f"{field}.tool_call_id", fix=fix)]


def _call_problems(message: Message, offered: Sequence[str], field: str) -> list[Problem]:
    problems = []
    for index, call in enumerate(message.tool_calls):
        name = call.function.name
        if offered and name not in offered:
            close = nearest(name, offered)
            fix = f"did you mean {close!r}? " if close else ""
            where = f"{field}.tool_calls[{index}].function.name"
            problems.append(
                Problem(
                    f"{name!r} is not among the row's tools", field=where, fix=f"{fix}offered: {', '.join(offered)}"
                )
            )
    return problems


def _end_problems(messages: Sequence[Message]) -> list[Problem]:
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        return [Problem("there is no assistant message", field="messages", fix="add the answer to learn")]
    if messages[-1].role != "assistant":
        field = f"messages[{len(messages) - 1}]"
        return [
            Problem(
                f"the conversation ends with a {messages[-1].role} message",
                field=field,
                fix="end it with the assistant's answer",
            )
        ]
    if all(message.weight == 0 for message in answers):
        return [Problem("every assistant message has weight 0", field="messages", fix="give one of them weight 1")]
    return []
