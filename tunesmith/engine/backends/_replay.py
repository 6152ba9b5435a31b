"""An engine without weights: deterministic answers, streamed like a model's. For tests, demonstrations, load tests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tunesmith.engine.admission import Capacity, check_offered, check_request, check_score
from tunesmith.engine.detokenise import Codec, Detokeniser
from tunesmith.engine.engine import FinishReason, GenerationRequest, ScoredToken, TokenEvent, TokenLogprob
from tunesmith.errors import EngineError, ModelError, NotFound
from tunesmith.models.adapter import adapter_digest

__all__ = ["AnsweringCodec", "EchoEngine"]

# Log-probability of a token the engine would say, and of any other: any fixed pair does.
_SAID, _UNSAID = -0.125, -4.0
_DIMENSIONS = 64
# So many tokens are given at once where none takes time; then others have their turn.
_AT_ONCE = 16


class AnsweringCodec(Codec, Protocol):
    """A codec that also turns an answer into token ids, the end-of-turn token included."""

    def answer_ids(self, text: str, /) -> tuple[int, ...]:
        """Token ids of an assistant's answer as it is trained: its text and the end-of-turn token."""


class EchoEngine:
    """Says a scripted answer when the prompt contains its key, else the prompt's last `length` tokens.

    Adapters are checked and remembered, and change nothing. `delay_seconds` passes before each token.
    """

    def __init__(
        self,
        codec: AnsweringCodec,
        *,
        answers: Mapping[str, str],
        length: int,
        context: int,
        vocabulary: int,
        delay_seconds: float = 0.0,
    ) -> None:
        self._codec = codec
        self._answers = dict(answers)
        self._length = length
        self._context = context
        self._vocabulary = vocabulary
        self._delay_seconds = delay_seconds
        self._adapters: set[str] = set()
        self._running: dict[str, int] = {}
        self._closed = False

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together."""
        return self._context

    @property
    def precision(self) -> None:
        """It computes nothing."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream the answer; see `Engine.submit`."""
        self._check_open()
        check_request(request, self._capacity())
        check_offered(request.sampling, (), "echo")  # a fixed answer has no distribution to shape
        return self._stream(request)

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """A fixed log-probability for each token the engine would say, a lower one for any other."""
        return tuple(one.logprob for one in await self.score_with_top(prompt_ids, answer_ids, adapter, 0))

    async def score_with_top(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None, top: int
    ) -> tuple[ScoredToken, ...]:
        """As `score`; the likeliest token is the one the engine would say, and after its end the given one."""
        self._check_open()
        check_score(prompt_ids, answer_ids, adapter, self._capacity())
        said = self._answer(prompt_ids)
        found: list[ScoredToken] = []
        for at, token in enumerate(answer_ids):
            likeliest, logprob = (said[at], _SAID) if at < len(said) else (token, _UNSAID)
            best = (TokenLogprob(token_id=likeliest, logprob=logprob),)[:top]
            found.append(ScoredToken(logprob if token == likeliest else _UNSAID, best))
        return tuple(found)

    async def embed(self, prompt_ids: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        """How often each token occurs, counted modulo the number of dimensions, scaled to length 1."""
        self._check_open()
        check_score(prompt_ids, (), adapter, self._capacity())
        counts = [0.0] * _DIMENSIONS
        for token in prompt_ids:
            counts[token % _DIMENSIONS] += 1.0
        length = math.hypot(*counts)
        return tuple(count / length for count in counts)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Check the folder's digest and remember it."""
        self._check_open()
        found = adapter_digest(path)
        if found != digest:
            raise ModelError(f"The adapter in {path} has the digest {found}, not {digest}.")
        self._adapters.add(digest)

    async def unload_adapter(self, digest: str) -> None:
        """Refuse new requests for the adapter and let running ones finish."""
        if digest not in self._adapters:
            raise NotFound(f"The adapter {digest!r} is not loaded.")
        self._adapters.remove(digest)
        while self._running.get(digest):
            await asyncio.sleep(0.001)

    def adapters(self) -> tuple[str, ...]:
        """Digests of the loaded adapters, sorted."""
        return tuple(sorted(self._adapters))

    @contextmanager
    def hold(self, digest: str) -> Iterator[None]:
        """Nothing is ever dropped here."""
        if digest not in self._adapters:
            raise EngineError(f"The adapter {digest!r} is not loaded.")
        yield

    def adapter_bytes(self) -> dict[str, int]:
        """Nothing is kept of an adapter but its digest."""
        return dict.fromkeys(self.adapters(), 0)

    async def close(self) -> None:
        """Running requests end with EngineError."""
        self._closed = True

    async def _stream(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        key = request.adapter or ""
        self._running[key] = self._running.get(key, 0) + 1
        try:
            for number, event in enumerate(self._events(request)):
                if self._delay_seconds or number % _AT_ONCE == 0:
                    await asyncio.sleep(self._delay_seconds)
                self._check_open()
                yield event
        finally:
            self._running[key] -= 1

    def _events(self, request: GenerationRequest) -> Sequence[TokenEvent]:
        text = Detokeniser(self._codec, request.sampling.stop)
        events: list[TokenEvent] = []
        answer = self._answer(request.prompt_ids)[: request.sampling.max_tokens]
        for index, token in enumerate(answer):
            ended = token in self._codec.stop_ids
            piece = text.finish() if ended else text.push(token)
            said, stopped = piece.text, ended or piece.stopped
            reason: FinishReason | None = "stop" if stopped else None
            if not stopped and index == len(answer) - 1:
                rest = text.finish()
                said, stopped = said + rest.text, rest.stopped
                reason = "stop" if stopped else "length"
            top = (TokenLogprob(token_id=token, logprob=_SAID),)[: request.sampling.top_logprobs]
            events.append(TokenEvent(token_id=token, text=said, logprob=_SAID, top=top, finish_reason=reason))
            if stopped:
                break
        return events

    def _answer(self, prompt_ids: tuple[int, ...]) -> tuple[int, ...]:
        prompt = self._codec.decode(prompt_ids) if self._answers else ""
        for key, answer in self._answers.items():
            if key in prompt:
                return self._codec.answer_ids(answer)
        words = [token for token in prompt_ids if token not in self._codec.stop_ids]
        return (*words[-self._length :], min(self._codec.stop_ids))

    def _capacity(self) -> Capacity:
        return Capacity(dict.fromkeys(self._adapters, 0), self._vocabulary, self._context)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine was closed.")
