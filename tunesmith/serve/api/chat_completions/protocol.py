"""What POST /v1/chat/completions takes: OpenAI's fields.

Every field that would change the answer is applied or refused by name; those of OpenAI's own platform that cannot
change it here (`user`, `service_tier`, ...) are accepted. An explicit null means the field is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tunesmith.serve.answering.ask import Ask, Fields, ToolChoice
from tunesmith.serve.api.chat_completions.messages import RequestMessage
from tunesmith.serve.api.chat_completions.tools import (
    Choice,
    FunctionTool,
    LegacyFunction,
    NamedChoice,
    NamedFunction,
    ResponseFormat,
    choice_of,
)
from tunesmith.serve.body import Body
from tunesmith.serve.metadata import Metadata
from tunesmith.types.base import Value

__all__ = ["ChatRequest", "StreamOptions", "StreamedOptions"]

Count = Annotated[int, Field(ge=1)]
Stop = Annotated[str, Field(min_length=1)]
Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
Bias = Annotated[float, Field(ge=-100.0, le=100.0)]

# Zero keeps the most likely token only; so does this.
_SMALLEST_TOP_P = 1e-9

# Value under which each of these does nothing. Any other would change the answer, and is not offered.
_INERT: Mapping[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "audio": (),
}


class StreamOptions(Value):
    """`include_usage` asks for one last chunk with the token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _needs_stream(value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
    if value is not None and not info.data.get("stream"):
        raise ValueError("it is only allowed when stream is true")
    return value


StreamedOptions = Annotated[StreamOptions | None, AfterValidator(_needs_stream)]
"""The field `stream_options` of a request whose field `stream` stands before it and is true."""


class ChatRequest(Body):
    """A chat request. `max_completion_tokens` wins over its older name `max_tokens`.

    `functions` and `function_call` are the older form of `tools` and `tool_choice`: at most one of them is called, and
    the answer is of that form as well.
    """

    model: str
    messages: list[RequestMessage] = Field(min_length=1)
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, ge=0.0, le=1.0)
    n: int | None = Field(default=None, ge=1, le=128)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[int, Bias] | None = None
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = Field(default=None, max_length=128)
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[LegacyFunction] | None = Field(default=None, max_length=128)
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    stream: bool | None = None
    stream_options: StreamedOptions = None
    store: bool | None = None
    metadata: Metadata | None = None
    # Of OpenAI's platform; nothing here depends on them.
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    prediction: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None
    moderation: Any = None
    # Would change the answer; only their neutral values are taken.
    modalities: Any = None
    audio: Any = None

    @field_validator(*_INERT)
    @classmethod
    def _is_neutral(cls, value: Any, info: Any) -> Any:
        neutral = _INERT[info.field_name]
        if value is not None and value not in neutral:
            allowed = f"; only {' or '.join(repr(one) for one in neutral)} is accepted" if neutral else ""
            raise ValueError(f"this model server does not support {info.field_name}{allowed}")
        return value

    @field_validator("tools")
    @classmethod
    def _have_names_of_their_own(cls, tools: list[FunctionTool] | None) -> list[FunctionTool] | None:
        _require_different([tool.function.name for tool in tools or ()])
        return tools

    @field_validator("functions")
    @classmethod
    def _stand_in_place_of_tools(cls, functions: list[LegacyFunction] | None, info: Any) -> list[LegacyFunction] | None:
        _require_different([function.name for function in functions or ()])
        for newer in ("tools", "tool_choice"):
            if functions and info.data.get(newer):
                raise ValueError(f"they are the older form of tools; leave {newer} away, or write tools alone")
        return functions

    @field_validator("function_call")
    @classmethod
    def _calls_a_function(cls, value: Any, info: Any) -> Any:
        names = [function.name for function in info.data.get("functions") or ()]
        if isinstance(value, NamedFunction) and "functions" in info.data and value.name not in names:
            raise ValueError(f"it names {value.name!r}, which is not among functions: {', '.join(names) or 'none'}")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _chooses_a_tool(cls, value: Choice | None, info: Any) -> Choice | None:
        if "tools" in info.data:  # else they are wrong themselves
            choice_of(value, [tool.function.name for tool in info.data["tools"] or ()])
        return value

    @field_validator("top_logprobs")
    @classmethod
    def _needs_logprobs(cls, value: int | None, info: Any) -> int | None:
        if value is not None and not info.data.get("logprobs"):
            raise ValueError("it is only allowed when logprobs is true")
        return value

    @property
    def legacy(self) -> bool:
        """Whether tools are written in the older form, and calls are to be."""
        return bool(self.functions)

    @property
    def offered(self) -> list[FunctionTool]:
        """The tools, in whichever form they were written."""
        return [function.as_tool() for function in self.functions or ()] or self.tools or []

    @property
    def choice(self) -> ToolChoice:
        """The choice among the tools."""
        named = self.function_call
        wanted = NamedChoice(type="function", function=named) if isinstance(named, NamedFunction) else named
        return choice_of(wanted if self.legacy else self.tool_choice, [tool.function.name for tool in self.offered])

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def as_ask(self) -> Ask:
        """What is asked, without the form of this endpoint."""
        return Ask(
            model=self.model,
            messages=tuple(message.as_message() for message in self.messages),
            tools=tuple(tool.as_function() for tool in self.offered),
            choice=self.choice,
            parallel=self.parallel_tool_calls is not False and not self.legacy,
            form=self.response_format.constraint if self.response_format else None,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=None if self.top_p is None else max(self.top_p, _SMALLEST_TOP_P),
            n=self.n or 1,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            top_logprobs=self.top_logprobs or 0,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logit_bias=self.logit_bias or {},
            fields=Fields(tools="functions", choice="function_call") if self.legacy else Fields(),
        )


def _require_different(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the name {twice[0]!r} is used twice")
