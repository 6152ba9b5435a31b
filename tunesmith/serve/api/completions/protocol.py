"""What POST /v1/completions takes and answers: plain text that is continued, without a chat template."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.serve.answering.ask import Ask, Fields
from tunesmith.serve.api.chat_completions.objects import Usage
from tunesmith.serve.api.chat_completions.protocol import StreamedOptions
from tunesmith.serve.body import Body
from tunesmith.types.base import Value

__all__ = [
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionChunkWithUsage",
    "CompletionLogprobs",
    "CompletionRequest",
]

Stop = Annotated[str, Field(min_length=1)]
Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
Bias = Annotated[float, Field(ge=-100.0, le=100.0)]
Ids = Annotated[list[int], Field(min_length=1)]
_DEFAULT_LENGTH = 16


class CompletionRequest(Body):
    """A text, several, or their token ids, to be continued. `best_of` answers are made and the `n` likeliest given."""

    model: str
    prompt: str | Annotated[list[str] | Ids | list[Ids], Field(min_length=1, max_length=512)]
    max_tokens: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1, le=128)
    best_of: int | None = Field(default=None, ge=1, le=128)
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0, le=5)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[int, Bias] | None = None
    stream: bool | None = None
    stream_options: StreamedOptions = None
    user: str | None = None
    suffix: Any = None

    @field_validator("suffix")
    @classmethod
    def _is_not_offered(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("this model server does not support suffix")
        return value

    @field_validator("best_of")
    @classmethod
    def _is_enough(cls, value: int | None, info: Any) -> int | None:
        if value is not None and value < (info.data.get("n") or 1):
            raise ValueError("best_of must not be less than n")
        return value

    @field_validator("stream")
    @classmethod
    def _can_stream(cls, value: bool | None, info: Any) -> bool | None:
        if value and (info.data.get("best_of") or 1) > (info.data.get("n") or 1):
            raise ValueError("best_of cannot be streamed: which answers are best is known at the end")
        return value

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one by one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        texts: list[str | list[int]] = []
        ids: list[int] = []
        for one in self.prompt:
            if isinstance(one, int):
                ids.append(one)
            else:
                texts.append(one)
        return [ids] if ids else texts

    @property
    def length(self) -> int:
        """Most tokens of an answer."""
        return _DEFAULT_LENGTH if self.max_tokens is None else self.max_tokens

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def as_ask(self) -> Ask:
        """What is asked, without the prompts."""
        return Ask(
            model=self.model,
            messages=(),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            top_logprobs=self.logprobs or 0,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logit_bias=self.logit_bias or {},
            fields=Fields(prompt="prompt"),
        )


class CompletionLogprobs(Value):
    """For each token its text, its natural-log probability (null for a prompt's first), the likeliest tokens at its
    place with the token itself (null where none were asked for, and for a prompt's first) and where it begins in prompt
    and answer, in characters. The end-of-turn token is one of them, with its name as text; a token whose text another
    likely token has too is called `token_id:N`.
    """

    tokens: tuple[str, ...]
    token_logprobs: tuple[float | None, ...]
    top_logprobs: tuple[dict[str, float] | None, ...] | None
    text_offset: tuple[int, ...]


class CompletionChoice(Value):
    """One continuation. A stream's parts have no `finish_reason` but the last."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: CompletionLogprobs | None


class CompletionChunk(Value):
    """A part of a streamed answer."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    system_fingerprint: str | None = None


class CompletionChunkWithUsage(CompletionChunk):
    """A part of a stream that will end with its usage; null until then."""

    usage: Usage | None = None


class Completion(CompletionChunk):
    """The whole answer: the choices of the first prompt, then those of the next."""

    usage: Usage
