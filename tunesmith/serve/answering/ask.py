"""What a client asks of a model, whatever endpoint it came through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from tunesmith.engine.engine import Constraint
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message

__all__ = ["Ask", "Fields", "Function", "ToolChoice"]

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class Function(Value):
    """A tool. `shown` is what the chat template gets: the definition as the client wrote it, in chat's form."""

    name: str
    parameters: dict[str, Any] | None = None
    strict: bool = False
    shown: dict[str, Any] = {}

    def schema_text(self, *, loose: bool = False) -> str:
        """JSON Schema of the arguments; any object when `loose`."""
        return json.dumps({"type": "object"} if loose else self.parameters or dict(_NO_PARAMETERS))


class ToolChoice(Value):
    """Whether tools must be called, and which of them may: `named` is one call of one tool."""

    mode: Literal["none", "auto", "required", "named"] = "auto"
    names: tuple[str, ...] | None = None


class Fields(Value):
    """What the endpoint calls the fields that an error may have to name."""

    prompt: str = "messages"
    form: str = "response_format"
    tools: str = "tools"
    choice: str = "tool_choice"


class Ask(Value):
    """A question to the model `model`. None means: what is usual for the model.

    form: what the answer must look like, unless it calls tools. `parallel`: whether it may make several calls.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Function, ...] = ()
    choice: ToolChoice = ToolChoice()
    parallel: bool = True
    form: Constraint | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    fields: Fields = Fields()

    @property
    def callable(self) -> tuple[Function, ...]:
        """The tools that the answer may call."""
        if self.choice.mode == "none":
            return ()
        return tuple(tool for tool in self.tools if self.choice.names is None or tool.name in self.choice.names)

    @property
    def offered(self) -> tuple[dict[str, Any], ...]:
        """The tools that the prompt shows: all, or none when the model must not call any."""
        return () if self.choice.mode == "none" else tuple(tool.shown for tool in self.tools)
