"""The contract of every inference engine: token ids in, a stream of tokens out.

Prompts arrive as token ids made by the one renderer (`tunesmith.models.template`); an engine applies no chat template.
Adapters are addressed by content digest. The same contract suite (`tunesmith.testing.engine_contract`) runs on every
backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field

from tunesmith.types.base import Value

__all__ = [
    "Constraint",
    "Engine",
    "FinishReason",
    "GenerationRequest",
    "Sampling",
    "ScoredToken",
    "TokenEvent",
    "TokenLogprob",
]

FinishReason = Literal["stop", "length"]


Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
Bias = Annotated[float, Field(ge=-100.0, le=100.0)]


class Constraint(Value):
    """What an answer has to be, whatever the model would rather say.

    json_schema: a JSON text that is valid under the schema `source` (JSON); json_object: any JSON object (no source);
    regex: a text that the regular expression `source` matches as a whole; lark: a text of the grammar `source`, written
    in llguidance's form of Lark.
    """

    kind: Literal["json_schema", "json_object", "regex", "lark"]
    source: str = ""


class Sampling(Value):
    """How tokens are chosen. `temperature` 0 is greedy. `stop` strings end the answer and are not part of it.

    For each token of the answer so far, `presence_penalty` is taken off its logit once and `frequency_penalty` each
    time it occurred; `logit_bias` (token id -> number) is added to logits. Under a `constraint` only tokens that keep
    the answer within it are chosen, and the end-of-turn token only where the answer is whole.
    """

    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = Field(default=0, ge=0, le=20)
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    logit_bias: dict[int, Bias] = {}
    constraint: Constraint | None = None


class GenerationRequest(Value):
    """A prompt (token ids), the digest of the adapter to apply (None: the base model) and the sampling."""

    prompt_ids: tuple[int, ...]
    adapter: str | None = None
    sampling: Sampling = Sampling()


class TokenLogprob(Value):
    """A token and its natural-log probability under the model's own distribution: untempered, unshaped."""

    token_id: int
    logprob: float


class ScoredToken(NamedTuple):
    """A given token's natural-log probability, and the likeliest tokens at its place, best first."""

    logprob: float
    top: tuple[TokenLogprob, ...] = ()


class TokenEvent(NamedTuple):
    """One step of an answer.

    `text` is the text that became certain with this token (may be empty while a character or a stop string is
    incomplete); the event that carries `finish_reason` is the last. An end-of-turn token is reported with empty text.
    `logprob` and `top` are of the model's own distribution, so they are finite under a constraint too. The last event
    says how many tokens of the prompt were `cached`: taken over from earlier requests instead of computed.
    """

    token_id: int
    text: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    cached: int = 0


class Engine(Protocol):
    """An inference engine. Requests run concurrently; closing the iterator cancels its request."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream one answer.

        Raises EngineError for an unknown adapter or a prompt that does not fit, and RequestRefused with the name of the
        field of `Sampling` that cannot be done (a constraint that cannot be enforced whole is refused, never loosened),
        before any token. Compiling a constraint can take time: call this in a thread where others wait.
        """

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """Natural-log probability of each of `answer_ids` [A] given the prompt and the answer so far."""

    async def score_with_top(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None, top: int
    ) -> tuple[ScoredToken, ...]:
        """As `score`, with the `top` (0 to 20) likeliest tokens at each of the A places: whether an answer is greedy.

        A token among the likeliest has there exactly the log-probability that is told for itself.
        """

    async def embed(self, prompt_ids: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        """A vector [H] of length 1 for a text: the mean of the model's last hidden states over its tokens.

        Raises EngineError as `submit` does, RequestRefused from a backend that has no hidden states.
        """

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Make the adapter folder (peft format) available under `digest`.

        Where memory for adapters is limited, the least recently used ones that are not in use may be dropped.
        Raises ModelError unless the folder's digest matches, every tensor finds its place, and a probe prompt's
        logits change.
        """

    async def unload_adapter(self, digest: str) -> None:
        """Forget an adapter; requests that use it finish first. Unknown digests are NotFound."""

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together, with an adapter's virtual tokens."""

    @property
    def precision(self) -> str | None:
        """What it computes in (float32, float16, bfloat16); None for an engine without weights, whose numbers mean
        nothing.
        """

    def adapters(self) -> tuple[str, ...]:
        """Digests of the loaded adapters."""

    def hold(self, digest: str) -> AbstractContextManager[None]:
        """Keep a loaded adapter loaded inside the block: an engine whose memory for adapters is limited may otherwise
        drop one that nobody is using when another is loaded. Raises EngineError when it is not loaded.
        """

    def adapter_bytes(self) -> dict[str, int]:
        """Digest -> memory that a loaded adapter takes in this process beside the base model."""

    async def close(self) -> None:
        """Stop; running requests end with EngineError."""
