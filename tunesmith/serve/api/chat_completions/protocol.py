"""What POST /v1/chat/completions takes and answers: OpenAI's fields.

Every field that would change the answer is applied or refused by name; the few that cannot change it (`user`,
`metadata`, ...) are accepted. An explicit null means the field is absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.types.base import Value
from tunesmith.types.conversation import Message

__all__ = [
    "AnswerMessage",
    "ChatCompletion",
    "ChatRequest",
    "Choice",
    "ChoiceLogprobs",
    "Chunk",
    "ChunkChoice",
    "ChunkDelta",
    "ChunkWithUsage",
    "RequestMessage",
    "StreamOptions",
    "TextPart",
    "TokenInfo",
    "TopToken",
    "Usage",
]

Count = Annotated[int, Field(ge=1)]
Stop = Annotated[str, Field(min_length=1)]

# Value under which each of these does nothing. Any other would change the answer, and is not offered.
_INERT: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "reasoning_effort": (),
    "verbosity": ("medium",),
    "web_search_options": (),
    "moderation": (),
}


class TextPart(Value):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class RequestMessage(Value):
    """One message of the request. Tool calls and their results are refused, as tools are."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    refusal: None = None

    def as_message(self) -> Message:
        """The message as the renderer takes it; text parts are joined without anything between them."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role=self.role, content=content, name=self.name)


class StreamOptions(Value):
    """`include_usage` asks for one last chunk with the token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Value):
    """A chat request. `max_completion_tokens` wins over its older name `max_tokens`."""

    model: str
    messages: list[RequestMessage] = Field(min_length=1)
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    n: int | None = Field(default=None, ge=1, le=128)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Cannot change the answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    prediction: dict[str, Any] | None = None
    # Would change it; only their neutral values are taken.
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None
    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None
    web_search_options: Any = None
    moderation: Any = None

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, body: Any) -> Any:
        """JSON can escape half of a surrogate pair, which is no character and no tokenizer takes."""
        if not isinstance(body, dict):
            return body  # refused as such by the model itself
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("its strings must be valid Unicode, and one has a lone surrogate") from error
        return body

    @field_validator(*_INERT)
    @classmethod
    def _is_neutral(cls, value: Any, info: Any) -> Any:
        neutral = _INERT[info.field_name]
        if value is not None and value not in neutral:
            allowed = f"; only {' or '.join(repr(one) for one in neutral)} is accepted" if neutral else ""
            raise ValueError(f"this model server does not support {info.field_name}{allowed}")
        return value

    @field_validator("top_logprobs")
    @classmethod
    def _needs_logprobs(cls, value: int | None, info: Any) -> int | None:
        if value is not None and not info.data.get("logprobs"):
            raise ValueError("it is only allowed when logprobs is true")
        return value

    @field_validator("stream_options")
    @classmethod
    def _needs_stream(cls, value: StreamOptions | None, info: Any) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise ValueError("it is only allowed when stream is true")
        return value

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class TopToken(Value):
    """A token, its natural-log probability and its bytes (null when it is part of a character)."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None


class TokenInfo(TopToken):
    """A chosen token with the most likely ones at its place."""

    top_logprobs: tuple[TopToken, ...]


class ChoiceLogprobs(Value):
    """Log-probabilities of an answer's tokens, the end-of-turn token left out."""

    content: tuple[TokenInfo, ...]
    refusal: None = None


class AnswerMessage(Value):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(Value):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: ChoiceLogprobs | None


class Usage(Value):
    """Tokens: completion tokens of all choices together, end-of-turn tokens included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(Value):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    system_fingerprint: str | None = None
    service_tier: None = None


class ChunkDelta(Value):
    """What a chunk adds; absent fields are left out, because clients join what they get."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Value):
    """One choice's part of a chunk."""

    index: int
    delta: ChunkDelta
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None


class Chunk(Value):
    """One piece of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    system_fingerprint: str | None = None


class ChunkWithUsage(Chunk):
    """A chunk of a stream that will end with its usage; null until then."""

    usage: Usage | None = None
