"""What POST /v1/chat/completions answers: OpenAI's objects."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = [
    "AnswerCall",
    "AnswerMessage",
    "CallDelta",
    "CalledDelta",
    "ChatCompletion",
    "Choice",
    "ChoiceLogprobs",
    "Chunk",
    "ChunkChoice",
    "ChunkDelta",
    "ChunkWithUsage",
    "CompletionDetails",
    "NamedArguments",
    "PromptDetails",
    "TokenInfo",
    "TopToken",
    "Usage",
]


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


class NamedArguments(Value):
    """The function that is called and the JSON text of its arguments."""

    name: str
    arguments: str


class AnswerCall(Value):
    """A tool call."""

    id: str
    type: Literal["function"] = "function"
    function: NamedArguments


class AnswerMessage(Value):
    """The answer; no content beside tool calls when there is no text. `function_call` is the call of a request that
    offered `functions`, the older form.
    """

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: tuple[AnswerCall, ...] | None = None
    function_call: NamedArguments | None = None
    annotations: tuple[dict[str, str], ...] = ()


class Choice(Value):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "tool_calls", "function_call"]
    logprobs: ChoiceLogprobs | None


class PromptDetails(Value):
    """Prompt tokens that were taken over from earlier requests instead of computed."""

    cached_tokens: int


class CompletionDetails(Value):
    """Tokens of the answer that are hidden: none."""

    reasoning_tokens: Literal[0] = 0


class Usage(Value):
    """Tokens: completion tokens of all choices together, end-of-turn tokens included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails = CompletionDetails()


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


class CalledDelta(Value):
    """More of a call: the name once, then pieces of the arguments."""

    name: str | None = None
    arguments: str | None = None


class CallDelta(Value):
    """What a chunk adds to call number `index`."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: CalledDelta


class ChunkDelta(Value):
    """What a chunk adds; absent fields are left out, because clients join what they get."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: tuple[CallDelta, ...] | None = None
    function_call: CalledDelta | None = None


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
