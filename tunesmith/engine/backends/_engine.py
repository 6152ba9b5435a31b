"""The embedded engine: the Engine contract over the loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from tunesmith.engine.admission import Capacity, check_request, check_score
from tunesmith.engine.backends._embedding import Embedder
from tunesmith.engine.backends._grammar import Grammars
from tunesmith.engine.backends._identity import require_identity
from tunesmith.engine.backends._jobs import generation, scoring
from tunesmith.engine.backends._loop import Loop
from tunesmith.engine.backends._lora import LoraWeights
from tunesmith.engine.backends._packed import PackedModel
from tunesmith.engine.backends._variants import Variant
from tunesmith.engine.detokenise import Codec
from tunesmith.engine.engine import Constraint, GenerationRequest, ScoredToken, TokenEvent
from tunesmith.engine.outbox import Outbox
from tunesmith.engine.residents import Resident, Residents
from tunesmith.engine.schedule import Limits
from tunesmith.errors import EngineError, ModelError, NotFound, RequestRefused
from tunesmith.models.virtual import virtual_ids

if TYPE_CHECKING:
    from llguidance import LLMatcher

__all__ = ["EmbeddedEngine", "Options"]


class Options(NamedTuple):
    """Processor threads of the model (None: torch's default), bytes that adapters may take (None: any number) and what
    compiles constraints (None: they are refused).
    """

    threads: int | None = None
    adapter_bytes: int | None = None
    grammars: Grammars | None = None


class EmbeddedEngine:
    """Continuous batching over a transformers model in this process, a different adapter per request if wanted."""

    def __init__(self, model: PackedModel, codec: Codec, limits: Limits, *, base_digest: str, options: Options) -> None:
        self._model = model
        self._codec = codec
        self._base_digest = base_digest
        self._grammars = options.grammars
        self._loop = Loop(model, limits, options.threads)
        self._context = min(model.context, limits.kv_tokens)
        # In the loop's thread, whose number of processor threads decides the order of sums.
        self._base_probe = self._loop.call(lambda: self._model.probe(None)).result()
        self._residents = Residents(options.adapter_bytes)
        self._embedder = Embedder(model, self._between_steps, limits.step_tokens)
        self._closed = False

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together."""
        return self._context

    @property
    def precision(self) -> str:
        """What the model computes in."""
        return str(self._model.model.dtype).removeprefix("torch.")

    @property
    def computed_tokens(self) -> int:
        """Tokens put through the model for requests so far; what came from the prefix cache is not among them."""
        return self._loop.computed_tokens

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream one answer; see `Engine.submit`."""
        self._check_open()
        check_request(request, self._capacity())
        return self._stream(request, self._matcher(request.sampling.constraint))

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """Natural-log probabilities [A] of the answer's tokens."""
        return tuple(one.logprob for one in await self.score_with_top(prompt_ids, answer_ids, adapter, 0))

    async def score_with_top(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None, top: int
    ) -> tuple[ScoredToken, ...]:
        """The answer's tokens [A], each with the `top` likeliest at its place."""
        self._check_open()
        check_score(prompt_ids, answer_ids, adapter, self._capacity())
        if not answer_ids:
            return ()
        outbox: Outbox[tuple[ScoredToken, ...]] = Outbox()
        job = scoring((*self._before(adapter), *prompt_ids), answer_ids, adapter, outbox, top)
        with self._residents.use(adapter):
            self._loop.submit(job)
            try:
                return await outbox.get()
            finally:
                self._loop.cancel(job)

    async def embed(self, prompt_ids: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        """The normalised mean [H] of the last hidden states, computed in pieces between answers' steps."""
        self._check_open()
        check_score(prompt_ids, (), adapter, self._capacity())
        with self._residents.use(adapter):
            return await self._embedder.vector(prompt_ids, adapter, self._residents.virtual.get(adapter or "", 0))

    def _between_steps(self, work: Callable[[], bool]) -> Future[bool]:
        self._check_open()
        return self._loop.call(work)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Read, check and probe an adapter; an adapter that is loaded already stays as it is.

        Idle adapters make room for it where their memory is limited. More than the limit is taken only while all
        others are in use.
        """
        self._check_open()
        if digest in self._residents:
            return
        adapter = await asyncio.to_thread(self._read, digest, path)
        self._check_open()
        nbytes = self._model.adapters.nbytes(adapter)
        self._residents.require_room(digest, nbytes)
        await self._drop_idle(coming=nbytes)
        while (
            leaving := await asyncio.wrap_future(self._loop.call(lambda: self._install(digest, adapter)))
        ) is not None:
            await asyncio.wrap_future(leaving)
        self._residents.add(digest, Resident(nbytes, self._model.adapters.virtual(digest)))
        # Another adapter may have been loaded meanwhile.
        await self._drop_idle(keep=digest)

    async def unload_adapter(self, digest: str) -> None:
        """Refuse new requests for the adapter, let running ones finish, then free it."""
        self._check_open()
        if digest not in self._residents:
            raise NotFound(f"The adapter {digest!r} is not loaded.")
        self._residents.remove(digest)
        await asyncio.wrap_future(self._loop.unload(digest))

    def adapters(self) -> tuple[str, ...]:
        """Digests of the loaded adapters, sorted."""
        return tuple(self._residents.nbytes)

    def hold(self, digest: str) -> AbstractContextManager[None]:
        """Keep a loaded adapter loaded inside the block."""
        return self._residents.use(digest)

    def adapter_bytes(self) -> dict[str, int]:
        """Memory each loaded adapter takes beside the base model."""
        return self._residents.nbytes

    async def close(self) -> None:
        """Stop the thread; unfinished requests end with EngineError. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._loop.close)

    def _matcher(self, constraint: Constraint | None) -> LLMatcher | None:
        if constraint is None:
            return None
        if self._grammars is None:
            raise RequestRefused("This engine was started without constrained decoding.", field="constraint")
        return self._grammars.matcher(constraint)

    async def _stream(self, request: GenerationRequest, matcher: LLMatcher | None) -> AsyncIterator[TokenEvent]:
        self._check_open()
        outbox: Outbox[TokenEvent] = Outbox()
        with self._residents.use(request.adapter):
            job = generation(request, self._before(request.adapter), self._codec, outbox, matcher)
            self._loop.submit(job)
            try:
                while True:
                    event = await outbox.get()
                    yield event
                    if event.finish_reason is not None:
                        return
            finally:
                self._loop.cancel(job)

    async def _drop_idle(self, *, coming: int = 0, keep: str | None = None) -> None:
        while (digest := self._residents.surplus(coming, keep)) is not None:
            await self.unload_adapter(digest)

    def _capacity(self) -> Capacity:
        return Capacity(self._residents.virtual, self._model.vocabulary, self._context)

    def _before(self, adapter: str | None) -> tuple[int, ...]:
        """The adapter's virtual tokens."""
        return virtual_ids(self._residents.virtual.get(adapter or "", 0))

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine was closed.")

    def _read(self, digest: str, path: Path) -> LoraWeights | Variant:
        require_identity(digest, path, self._base_digest)
        return self._model.adapters.read(path)

    def _install(self, digest: str, adapter: LoraWeights | Variant) -> Future[None] | None:
        """Put the adapter to work; while it is still being unloaded, the end of that, after which to try again."""
        if (leaving := self._loop.leaving(digest)) is not None:
            return leaving
        if digest in self._model.adapters.names():
            return None
        self._model.adapters.add(digest, adapter)
        try:
            self._check_effect(digest)
        except BaseException:
            self._model.adapters.remove(digest)
            raise
        return None

    def _check_effect(self, digest: str) -> None:
        """The adapter changes the logits of a probe prompt to other finite ones, and the base's stay bit-equal."""
        probe = self._model.probe(digest)
        if not bool(torch.isfinite(probe).all()):
            raise ModelError(f"The adapter {digest[:12]} gives logits that are not finite.")
        if torch.equal(probe, self._base_probe):
            raise ModelError(
                f"The adapter {digest[:12]} changes nothing: a probe prompt has the logits of the base model."
            )
        if not torch.equal(self._model.probe(None), self._base_probe):
            broken = EngineError(f"Loading the adapter {digest[:12]} changed the base model; the engine has stopped.")
            self._loop.fail(broken)
            raise broken
