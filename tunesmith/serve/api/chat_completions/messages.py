"""The messages of a chat request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.types.base import Value
from tunesmith.types.conversation import FunctionCall, Message, ToolCall

__all__ = ["AssistantCall", "CalledFunction", "RefusalPart", "RequestMessage", "TextPart"]


class TextPart(Value):
    """One part of a message's content."""

    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Any = None


class RefusalPart(Value):
    """A refusal that the assistant gave."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Value):
    """A function's name and the JSON text of its arguments."""

    name: str
    arguments: str


class AssistantCall(Value):
    """A tool call that the assistant made."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class RequestMessage(Value):
    """One message. `function` is the older name of a tool's result, `function_call` of a call."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    name: str | None = None
    tool_calls: list[AssistantCall] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    content: str | list[Part] | None = Field(default=None, validate_default=True)

    @field_validator("tool_calls", "function_call")
    @classmethod
    def _is_of_an_assistant(cls, value: Any, info: Any) -> Any:
        if value and info.data.get("role") not in (None, "assistant"):
            raise ValueError("only an assistant calls tools")
        return value

    @field_validator("content")
    @classmethod
    def _has_something_to_say(cls, value: str | list[Part] | None, info: Any) -> str | list[Part] | None:
        role, given = info.data.get("role"), info.data
        if role == "tool" and not given.get("tool_call_id"):
            raise ValueError("a message of role 'tool' needs a tool_call_id that says which call it answers")
        if role == "function" and not given.get("name"):
            raise ValueError("a message of role 'function' needs the name of the function")
        calls = given.get("tool_calls") or given.get("function_call") or given.get("refusal")
        if value is None and not (role == "assistant" and calls):
            raise ValueError("a message needs content: text or text parts (or, for an assistant, tool_calls)")
        return value

    def as_message(self) -> Message:
        """The message as the renderer takes it; text parts are joined without anything between them."""
        calls = [(call.id, call.function) for call in self.tool_calls or ()]
        if self.function_call is not None:
            calls.append((f"call_{self.function_call.name}", self.function_call))
        return Message(
            role="tool" if self.role == "function" else self.role,
            content=self._text(),
            name=self.name,
            tool_calls=tuple(_call(identity, function) for identity, function in calls),
            tool_call_id=f"call_{self.name}" if self.role == "function" else self.tool_call_id,
        )

    def _text(self) -> str | None:
        if self.content is None:
            return self.refusal
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in self.content)


def _call(identity: str, function: CalledFunction) -> ToolCall:
    # Clients write the arguments of a function without parameters as an empty text.
    return ToolCall(id=identity, function=FunctionCall(name=function.name, arguments=function.arguments or "{}"))
