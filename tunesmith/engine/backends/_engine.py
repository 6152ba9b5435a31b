"""The embedded engine: the Engine contract over the loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import torch

from tunesmith.engine.admission import check_request, check_score
from tunesmith.engine.backends._jobs import generation, scoring
from tunesmith.engine.backends._loop import Loop
from tunesmith.engine.backends._lora import LoraWeights
from tunesmith.engine.backends._packed import PackedModel, Slice
from tunesmith.engine.backends._variants import Variant
from tunesmith.engine.detokenise import Codec
from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.engine.outbox import Outbox
from tunesmith.engine.schedule import Limits
from tunesmith.errors import EngineError, ModelError, NotFound
from tunesmith.models.adapter import adapter_digest, read_identity

__all__ = ["PROBE_TOKENS", "EmbeddedEngine"]

# Slots kept out of the scheduler's hands for probing adapters.
PROBE_TOKENS = 8


class EmbeddedEngine:
    """Continuous batching over a transformers model in this process, a different adapter per request if wanted."""

    def __init__(
        self, model: PackedModel, codec: Codec, limits: Limits, *, base_digest: str, threads: int | None
    ) -> None:
        self._model = model
        self._codec = codec
        self._base_digest = base_digest
        self._loop = Loop(model, limits, threads)
        self._context = min(model.context, limits.kv_tokens)
        self._probe_start = limits.kv_tokens
        # In the loop's thread, whose number of processor threads decides the order of sums.
        self._base_probe = self._loop.call(lambda: self._probe(None)).result()
        self._available: dict[str, int] = {}  # digest -> bytes
        self._closed = False

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together."""
        return self._context

    @property
    def computed_tokens(self) -> int:
        """Tokens put through the model for requests so far; what came from the prefix cache is not among them."""
        return self._loop.computed_tokens

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream one answer; see `Engine.submit`."""
        self._check_open()
        check_request(request, adapters=self._available, vocabulary=self._model.vocabulary, context=self._context)
        return self._stream(request)

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """Natural-log probabilities [A] of the answer's tokens."""
        self._check_open()
        vocabulary, context = self._model.vocabulary, self._context
        check_score(prompt_ids, answer_ids, adapter, adapters=self._available, vocabulary=vocabulary, context=context)
        if not answer_ids:
            return ()
        outbox: Outbox[tuple[float, ...]] = Outbox()
        job = scoring(prompt_ids, answer_ids, adapter, outbox)
        self._loop.submit(job)
        try:
            return await outbox.get()
        finally:
            self._loop.cancel(job)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Read, check and probe an adapter; an adapter that is loaded already stays as it is."""
        self._check_open()
        if digest in self._available:
            return
        adapter = await asyncio.to_thread(self._read, digest, path)
        self._check_open()
        await asyncio.wrap_future(self._loop.call(lambda: self._install(digest, adapter)))
        self._available[digest] = self._model.adapters.nbytes(adapter)

    async def unload_adapter(self, digest: str) -> None:
        """Refuse new requests for the adapter, let running ones finish, then free it."""
        self._check_open()
        if digest not in self._available:
            raise NotFound(f"The adapter {digest!r} is not loaded.")
        del self._available[digest]
        await asyncio.wrap_future(self._loop.unload(digest))

    def adapters(self) -> tuple[str, ...]:
        """Digests of the loaded adapters, sorted."""
        return tuple(sorted(self._available))

    def adapter_bytes(self) -> dict[str, int]:
        """Memory each loaded adapter takes beside the base model."""
        return dict(sorted(self._available.items()))

    async def close(self) -> None:
        """Stop the thread; unfinished requests end with EngineError. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._loop.close)

    async def _stream(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        self._check_open()
        outbox: Outbox[TokenEvent] = Outbox()
        job = generation(request, self._codec, outbox)
        self._loop.submit(job)
        try:
            while True:
                event = await outbox.get()
                yield event
                if event.finish_reason is not None:
                    return
        finally:
            self._loop.cancel(job)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine was closed.")

    def _read(self, digest: str, path: Path) -> LoraWeights | Variant:
        found = adapter_digest(path)
        if found != digest:
            raise ModelError(f"The adapter in {path} has the digest {found}, not {digest}: it was changed or replaced.")
        identity = read_identity(path)
        if identity is not None and identity.base_digest != self._base_digest:
            raise ModelError(
                f"The adapter in {path} was tuned on the base {identity.base!r} ({identity.base_digest[:12]}); "
                f"this engine runs {self._base_digest[:12]}."
            )
        return self._model.adapters.read(path)

    def _install(self, digest: str, adapter: LoraWeights | Variant) -> None:
        if digest in self._model.adapters.names():
            return
        self._model.adapters.add(digest, adapter)
        try:
            self._check_effect(digest)
        except BaseException:
            self._model.adapters.remove(digest)
            raise

    def _check_effect(self, digest: str) -> None:
        """The adapter changes the logits of a probe prompt to other finite ones, and the base's stay bit-equal."""
        probe = self._probe(digest)
        if not bool(torch.isfinite(probe).all()):
            raise ModelError(f"The adapter {digest[:12]} gives logits that are not finite.")
        if torch.equal(probe, self._base_probe):
            raise ModelError(
                f"The adapter {digest[:12]} changes nothing: a probe prompt has the logits of the base model."
            )
        if not torch.equal(self._probe(None), self._base_probe):
            broken = EngineError(f"Loading the adapter {digest[:12]} changed the base model; the engine has stopped.")
            self._loop.fail(broken)
            raise broken

    def _probe(self, adapter: str | None) -> torch.Tensor:
        ids = [index % self._model.vocabulary for index in range(1, PROBE_TOKENS + 1)]
        return self._model.forward([Slice(ids, 0, self._probe_start, adapter, 1)])[0]
