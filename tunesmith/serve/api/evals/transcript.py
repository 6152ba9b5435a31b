"""Messages of chats and items of responses as an output item shows them: a role and a text each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["called", "plain", "spoken", "text_of"]

_ROLES: Mapping[str, str] = {"function_call": "assistant", "function_call_output": "tool"}


def plain(messages: str | Iterable[Any]) -> list[dict[str, Any]]:
    """The messages with their content as text, whatever they were written in; a text alone is the user's."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [_plain(one) for one in messages if isinstance(one, Mapping)]


def text_of(content: Any) -> str:
    """The text of a content: itself, or of its parts."""
    if isinstance(content, list | tuple):
        return "".join(str(part.get("text") or part.get("refusal") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def called(item: Mapping[str, Any]) -> dict[str, Any]:
    """A response's `function_call` as chat's tool call, which is what graders read."""
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def spoken(response: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]], str]:
    """What a response says: its text, its calls in chat's form, and why it ended in chat's words."""
    output = response["output"]
    text = "".join(text_of(item["content"]) for item in output if item["type"] == "message")
    calls = [called(item) for item in output if item["type"] == "function_call"]
    return text, calls, "length" if response["status"] == "incomplete" else "tool_calls" if calls else "stop"


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    kind = message.get("type") or "message"
    shown = {
        "role": message.get("role") or _ROLES.get(str(kind), "user"),
        "content": text_of(message.get("output" if kind == "function_call_output" else "content")),
    }
    calls = [called(message)] if kind == "function_call" else message.get("tool_calls")
    return shown | ({"tool_calls": calls} if calls else {})
