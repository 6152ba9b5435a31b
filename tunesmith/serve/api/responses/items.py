"""The items of a response's input: messages, calls and results. As they are given, as they are kept, as messages."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import model_validator

from tunesmith.types.base import Value
from tunesmith.types.conversation import FunctionCall, Message, ToolCall

__all__ = ["InputItem", "InputPart", "as_messages", "kept_items", "new_id"]


class InputPart(Value):
    """A piece of text: what was said to the model, or what it said itself (with what came along with that)."""

    type: Literal["input_text", "output_text", "refusal"]
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    prompt_cache_breakpoint: Any = None

    @model_validator(mode="after")
    def _says_something(self) -> InputPart:
        if self.said is None:
            raise ValueError("a part needs its text")
        return self

    @property
    def said(self) -> str | None:
        """The text."""
        return self.refusal if self.type == "refusal" else self.text


class InputItem(Value):
    """A message, a call that the model made or the result of one."""

    type: Literal["message", "function_call", "function_call_output"] = "message"
    id: str | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[InputPart] | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> InputItem:
        needed = {
            "message": ("role", "content"),
            "function_call": ("call_id", "name", "arguments"),
            "function_call_output": ("call_id", "output"),
        }
        missing = [field for field in needed[self.type] if getattr(self, field) is None]
        if missing:
            raise ValueError(f"an item of type {self.type!r} needs {' and '.join(missing)}")
        return self


def new_id(kind: str) -> str:
    """An id that nobody has: `resp_…`, `msg_…`, `fc_…`."""
    return f"{kind}_{secrets.token_hex(24)}"


def kept_items(given: str | Iterable[InputItem]) -> tuple[dict[str, Any], ...]:
    """The items as OpenAI gives them back, each with an id."""
    items = [InputItem(role="user", content=given)] if isinstance(given, str) else given
    return tuple(_kept(item) for item in items)


def as_messages(items: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Kept items as messages; the calls that follow one another are one turn of the assistant, with its text."""
    messages: list[Message] = []
    for item in items:
        if item["type"] == "function_call":
            call = FunctionCall(name=item["name"], arguments=item["arguments"] or "{}")
            made = ToolCall(id=item["call_id"], function=call)
            if messages and messages[-1].role == "assistant":
                turn = messages.pop()
                messages.append(turn.model_copy(update={"tool_calls": (*turn.tool_calls, made)}))
            else:
                messages.append(Message(role="assistant", tool_calls=(made,)))
        elif item["type"] == "function_call_output":
            messages.append(Message(role="tool", content=_text(item["output"]), tool_call_id=item["call_id"]))
        else:
            messages.append(Message(role=item["role"], content=_text(item["content"])))
    return tuple(messages)


def _kept(item: InputItem) -> dict[str, Any]:
    kept: dict[str, Any] = {"type": item.type, "status": item.status or "completed"}
    if item.type == "function_call":
        called = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
        return {"id": item.id or new_id("fc"), **kept, **called}
    if item.type == "function_call_output":
        output = item.output if isinstance(item.output, str) else _parts(item.output or [], "input_text")
        return {"id": item.id or new_id("fco"), **kept, "call_id": item.call_id, "output": output}
    kind: Literal["output_text", "input_text"] = "output_text" if item.role == "assistant" else "input_text"
    parts = [InputPart(type=kind, text=item.content)] if isinstance(item.content, str) else item.content or []
    return {"id": item.id or new_id("msg"), **kept, "role": item.role, "content": _parts(parts, kind)}


def _parts(parts: Iterable[InputPart], kind: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for part in parts:
        if part.type == "refusal":
            shown.append({"type": "refusal", "refusal": part.refusal})
        elif kind == "output_text":
            shown.append({"type": kind, "text": part.text, "annotations": [], "logprobs": []})
        else:
            shown.append({"type": kind, "text": part.text})
    return shown


def _text(content: str | list[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in content)
