"""The two kinds of work of the embedded engine: generating an answer and scoring a given one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from tunesmith.engine.backends._sampling import choose, generator_for, logprobs_of, scored_tokens, top_logprobs
from tunesmith.engine.backends._shaping import Shaping, shaping_of
from tunesmith.engine.detokenise import Codec, Detokeniser
from tunesmith.engine.engine import FinishReason, GenerationRequest, ScoredToken, TokenEvent
from tunesmith.engine.outbox import Outbox
from tunesmith.engine.schedule import Sequence
from tunesmith.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher

__all__ = ["Generation", "Job", "Scoring", "generation", "scoring"]

Ids = tuple[int, ...]


@dataclass(eq=False)
class Job(Sequence, ABC):
    """A sequence that takes logits and answers through its outbox."""

    outbox: Outbox[TokenEvent] | Outbox[tuple[ScoredToken, ...]] = field(kw_only=True)

    @abstractmethod
    def accept(self, logits: Tensor) -> bool:
        """Take the logits [R, V] of the positions wanted in this step; True when the job is done."""


@dataclass(eq=False)
class Generation(Job):
    """Chooses one token a step and streams it. `virtual`: tokens before the prompt that belong to the adapter."""

    outbox: Outbox[TokenEvent] = field(kw_only=True)
    request: GenerationRequest = field(kw_only=True)
    codec: Codec = field(kw_only=True)
    matcher: LLMatcher | None = field(kw_only=True, default=None)
    virtual: int = field(kw_only=True, default=0)

    def __post_init__(self) -> None:
        self._chosen = 0
        self._shaping: Shaping | None = shaping_of(self.request.sampling, self.matcher)
        self._generator = generator_for(self.request.sampling)
        self._text = Detokeniser(self.codec, self.request.sampling.stop)

    def accept(self, logits: Tensor) -> bool:
        """Choose from the last row."""
        sampling = self.request.sampling
        shaped = logits[-1] if self._shaping is None else self._shaping.apply(logits[-1])
        token = choose(shaped, sampling, self._generator)
        logprob = logprobs_of(logits[-1:], [token])[0]
        if math.isnan(logprob):
            raise EngineError("The model's logits are not numbers.")
        if self._shaping is not None and token not in self.codec.stop_ids:
            self._shaping.take(token)
        self.tokens.append(token)
        self._chosen += 1
        text, reason = self._advance(token)
        event = TokenEvent(
            token_id=token,
            text=text,
            logprob=logprob,
            top=top_logprobs(logits[-1], sampling.top_logprobs),
            finish_reason=reason,
            cached=max(0, self.reused - self.virtual) if reason else 0,
        )
        self.outbox.put(event)
        return reason is not None

    def _advance(self, token: int) -> tuple[str, FinishReason | None]:
        if token in self.codec.stop_ids:
            return self._text.finish().text, "stop"
        piece = self._text.push(token)
        if piece.stopped:
            return piece.text, "stop"
        if self._chosen < self.request.sampling.max_tokens:
            return piece.text, None
        rest = self._text.finish()
        return piece.text + rest.text, "stop" if rest.stopped else "length"


@dataclass(eq=False)
class Scoring(Job):
    """Collects the log-probabilities of given answer tokens, with the `top` likeliest at their places."""

    outbox: Outbox[tuple[ScoredToken, ...]] = field(kw_only=True)
    answer_ids: tuple[int, ...] = field(kw_only=True)
    top: int = field(kw_only=True, default=0)

    def __post_init__(self) -> None:
        self._found: list[ScoredToken] = []

    def accept(self, logits: Tensor) -> bool:
        """Row r predicts the next answer token not scored yet."""
        done = len(self._found)
        self._found += scored_tokens(logits, list(self.answer_ids[done : done + len(logits)]), self.top)
        if len(self._found) < len(self.answer_ids):
            return False
        self.outbox.put(tuple(self._found))
        return True


def generation(
    request: GenerationRequest,
    before: Ids,
    codec: Codec,
    outbox: Outbox[TokenEvent],
    matcher: LLMatcher | None = None,
) -> Generation:
    """The job of a request whose prompt stands behind the virtual tokens `before`; `matcher` enforces its constraint.

    The last token's keys are never needed, so it takes one slot less than it has tokens.
    """
    prompt = [*before, *request.prompt_ids]
    return Generation(
        tokens=prompt,
        room=len(prompt) + request.sampling.max_tokens - 1,
        logits_from=len(prompt) - 1,
        adapter=request.adapter,
        outbox=outbox,
        request=request,
        codec=codec,
        matcher=matcher,
        virtual=len(before),
    )


def scoring(
    prompt_ids: Ids, answer_ids: Ids, adapter: str | None, outbox: Outbox[tuple[ScoredToken, ...]], top: int = 0
) -> Scoring:
    """The job of scoring `answer_ids` (at least one) after `prompt_ids` (with the adapter's virtual tokens)."""
    tokens = [*prompt_ids, *answer_ids[:-1]]
    return Scoring(
        tokens=tokens,
        room=len(tokens),
        logits_from=len(prompt_ids) - 1,
        adapter=adapter,
        outbox=outbox,
        answer_ids=answer_ids,
        top=top,
    )
