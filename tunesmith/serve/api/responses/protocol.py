"""What POST /v1/responses takes.

Every field that would change the response is applied or refused by name; those of OpenAI's own platform that cannot
change it here are accepted. An explicit null means the field is absent.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.engine.engine import Constraint
from tunesmith.serve.answering.ask import Ask, Fields, Function, ToolChoice
from tunesmith.serve.api.chat_completions.protocol import StreamOptions
from tunesmith.serve.api.chat_completions.tools import JsonObjectForm, TextForm
from tunesmith.serve.api.responses.items import InputItem
from tunesmith.serve.body import Body
from tunesmith.serve.metadata import Metadata
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message

__all__ = ["FlatAllowed", "FlatForm", "FlatNamed", "FlatTool", "InputTokensRequest", "ResponseRequest", "TextConfig"]

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
_NOT_OFFERED = ("background", "prompt", "context_management", "background_options", "moderation", "image")


class FlatTool(Value):
    """A function that the model may call, without chat's inner object."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def as_function(self) -> Function:
        """The tool as an answer may call it; the template gets it in chat's form, as training rows have it."""
        shown = self.model_dump(exclude={"type"}, exclude_none=True)
        return Function(
            name=self.name,
            parameters=self.parameters,
            strict=bool(self.strict),
            shown={"type": "function", "function": shown},
        )


class FlatNamed(Value):
    """One tool by its name."""

    type: Literal["function"]
    name: Name


class FlatAllowed(Value):
    """The tools that may (auto) or must (required) be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[FlatNamed] = Field(min_length=1)


FlatChoice = Literal["none", "auto", "required"] | Annotated[FlatNamed | FlatAllowed, Field(discriminator="type")]


class FlatForm(Value):
    """JSON under a schema; it is enforced whatever `strict` says, and refused where it cannot be."""

    type: Literal["json_schema"]
    name: Name
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None

    @property
    def constraint(self) -> Constraint | None:
        """The answer is valid under the schema."""
        return Constraint(kind="json_schema", source=json.dumps(self.schema_))


class TextConfig(Value):
    """The form of the text."""

    format: Annotated[TextForm | JsonObjectForm | FlatForm, Field(discriminator="type")] | None = None
    verbosity: str | None = None


class InputTokensRequest(Body):
    """What makes the prompt of a response."""

    model: str
    input: str | list[InputItem] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[FlatTool] | None = Field(default=None, max_length=128)
    tool_choice: FlatChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: dict[str, Any] | None = None
    truncation: Literal["disabled"] | None = None
    conversation: Any = None

    @field_validator("conversation")
    @classmethod
    def _is_no_conversation(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("this model server does not support conversation; write previous_response_id")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _chooses_a_tool(cls, value: FlatChoice | None, info: Any) -> FlatChoice | None:
        names = [tool.name for tool in info.data.get("tools") or ()]
        wanted = [tool.name for tool in value.tools] if isinstance(value, FlatAllowed) else []
        wanted += [value.name] if isinstance(value, FlatNamed) else []
        for name in wanted:
            if name not in names:
                raise ValueError(f"it names the tool {name!r}, which is not among tools: {', '.join(names) or 'none'}")
        if value == "required" and not names:
            raise ValueError("'required' needs tools to choose from")
        return value

    @property
    def choice(self) -> ToolChoice:
        """The choice among the tools."""
        chosen = self.tool_choice or "auto"
        if isinstance(chosen, FlatNamed):
            return ToolChoice(mode="named", names=(chosen.name,))
        if isinstance(chosen, FlatAllowed):
            return ToolChoice(mode=chosen.mode, names=tuple(tool.name for tool in chosen.tools))
        return ToolChoice(mode=chosen)

    def as_ask(self, messages: tuple[Message, ...]) -> Ask:
        """What is asked after `messages`."""
        system = (Message(role="system", content=self.instructions),) if self.instructions else ()
        return Ask(
            model=self.model,
            messages=system + messages,
            tools=tuple(tool.as_function() for tool in self.tools or ()),
            choice=self.choice,
            parallel=self.parallel_tool_calls is not False,
            form=self.text.format.constraint if self.text and self.text.format else None,
            fields=Fields(prompt="input", form="text.format"),
        )


class ResponseRequest(InputTokensRequest):
    """A request for a response."""

    input: str | Annotated[list[InputItem], Field(min_length=1)]
    max_output_tokens: int | None = Field(default=None, ge=1)
    max_tool_calls: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Chat completions have it, OpenAI's responses do not; an eval that asks for responses may give it.
    seed: int | None = None
    # Of OpenAI's platform; nothing here depends on them.
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    # Not offered.
    background: Any = None
    prompt: Any = None
    context_management: Any = None
    background_options: Any = None
    moderation: Any = None
    image: Any = None

    @field_validator(*_NOT_OFFERED)
    @classmethod
    def _is_not_offered(cls, value: Any, info: Any) -> Any:
        if value not in (None, False):
            raise ValueError(f"this model server does not support {info.field_name}")
        return value

    @property
    def with_logprobs(self) -> bool:
        """Whether log-probabilities are part of the text."""
        return bool(self.top_logprobs) or "message.output_text.logprobs" in (self.include or ())

    def as_ask(self, messages: tuple[Message, ...]) -> Ask:
        """What is asked after `messages`."""
        asked = {
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_logprobs": self.top_logprobs or 0,
            "seed": self.seed,
        }
        return super().as_ask(messages).model_copy(update=asked)
