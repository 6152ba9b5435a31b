"""The thread that runs the model: takes messages between steps, computes one packed step after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, cast

import torch

from tunesmith.engine.backends._jobs import Job
from tunesmith.engine.backends._packed import PackedModel, Slice
from tunesmith.engine.schedule import Chunk, Limits, Scheduler
from tunesmith.errors import EngineError

__all__ = ["Loop"]

Result = TypeVar("Result")


class Loop:
    """Owns the model and the scheduler; everything that touches them runs in its thread."""

    def __init__(self, model: PackedModel, limits: Limits, threads: int | None) -> None:
        self.model = model
        self.scheduler = Scheduler(limits, model.pool.copy)
        self.computed_tokens = 0
        self._threads = threads
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._draining: dict[str, Future[None]] = {}
        self._stopped: EngineError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tunesmith-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; its answer or error comes through its outbox."""
        self._inbox.put(lambda: self._enqueue(job))

    def cancel(self, job: Job) -> None:
        """Forget a job; what it computed stays as a prefix."""
        job.outbox.close()
        self._inbox.put(lambda: self._retire(job, keep=True))

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run `function` in the thread between two steps."""
        future: Future[Result] = Future()

        def run() -> None:
            # Nobody may cancel a future from here on: giving it a result would then fail, and end the loop.
            if not future.set_running_or_notify_cancel():
                return
            if self._stopped:
                future.set_exception(self._stopped)
                return
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, who gets it from the future
                future.set_exception(error)

        self._inbox.put(run)
        return future

    def unload(self, adapter: str) -> Future[None]:
        """Remove an adapter once no request uses it; new requests for it are refused from now on."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # goes on when the caller gives up waiting

        def begin() -> None:
            if self._stopped:
                future.set_exception(self._stopped)
                return
            self._draining[adapter] = future
            self._finish_draining()

        self._inbox.put(begin)
        return future

    def leaving(self, adapter: str) -> Future[None] | None:
        """The end of an adapter's unloading when that is under way. Only to be called in the thread."""
        return self._draining.get(adapter)

    def fail(self, error: EngineError) -> None:
        """End every job with `error` and take no more. Only to be called in the thread (see `call`)."""
        self._stop(error)

    def close(self) -> None:
        """Stop after the current step; unfinished jobs end with EngineError. Waits for the thread."""
        self._inbox.put(self._close)
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        while not self._closed:
            try:
                self._take_messages()
                if self._stopped is None:
                    self._step()
            except Exception as error:  # noqa: BLE001 - the loop must never die silently: everybody who waits is told
                self._stop(EngineError(f"The engine stopped: {type(error).__name__}: {error}"))

    def _take_messages(self) -> None:
        busy = self._stopped is None and bool(self.scheduler.running or self.scheduler.waiting)
        if not busy:
            self._inbox.get()()
        while not self._closed and not self._inbox.empty():
            self._inbox.get()()

    def _close(self) -> None:
        self._stop(EngineError("The engine was closed."))
        self._closed = True

    def _step(self) -> None:
        for job in [*self.scheduler.running, *self.scheduler.waiting]:
            if cast(Job, job).outbox.closed:
                self._retire(cast(Job, job), keep=True)
        self.scheduler.admit()
        chunks = self.scheduler.plan()
        if chunks:
            self._compute(chunks)

    def _compute(self, chunks: list[Chunk]) -> None:
        """One step. When the packed forward breaks, each sequence is tried alone, so only the culprit fails."""
        try:
            logits = self.model.forward([_slice(chunk) for chunk in chunks])
        except Exception as error:  # noqa: BLE001 - whatever the model raises belongs to the requests of this step only
            if len(chunks) == 1:
                self._fail(cast(Job, chunks[0].sequence), error)
                return
            for chunk in chunks:
                self._compute([chunk])
            return
        for chunk, rows in zip(chunks, logits, strict=True):
            self._accept(chunk, rows)

    def _accept(self, chunk: Chunk, rows: torch.Tensor) -> None:
        job = cast(Job, chunk.sequence)
        job.computed += chunk.length
        self.computed_tokens += chunk.length
        if not len(rows):
            return
        try:
            done = job.accept(rows)
        except Exception as error:  # noqa: BLE001 - a request's own sampling or decoding fails only that request
            self._fail(job, error)
            return
        if done:
            self._retire(job, keep=True)

    def _enqueue(self, job: Job) -> None:
        if self._stopped is not None:
            job.outbox.put(EngineError(self._stopped.message))
        elif job.adapter is not None and (
            job.adapter in self._draining or job.adapter not in self.model.adapters.names()
        ):
            job.outbox.put(EngineError(f"The adapter {job.adapter!r} is not loaded."))
        else:
            self.scheduler.waiting.append(job)

    def _fail(self, job: Job, error: Exception) -> None:
        reason = error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
        job.outbox.put(reason)
        self._retire(job, keep=False)

    def _retire(self, job: Job, *, keep: bool) -> None:
        self.scheduler.retire(job, keep=keep)
        self._finish_draining()

    def _finish_draining(self) -> None:
        in_use = {job.adapter for job in [*self.scheduler.running, *self.scheduler.waiting]}
        for adapter in [name for name in self._draining if name not in in_use]:
            self.scheduler.forget(adapter)
            self.model.adapters.remove(adapter)
            self._draining.pop(adapter).set_result(None)

    def _stop(self, error: EngineError) -> None:
        if self._stopped is not None:
            return
        self._stopped = error
        for job in [*self.scheduler.running, *self.scheduler.waiting]:
            cast(Job, job).outbox.put(EngineError(error.message))
        for future in self._draining.values():
            future.set_exception(error)


def _slice(chunk: Chunk) -> Slice:
    sequence, end = chunk.sequence, chunk.sequence.computed + chunk.length
    return Slice(
        token_ids=sequence.tokens[sequence.computed : end],
        computed=sequence.computed,
        start=sequence.start,
        adapter=sequence.adapter,
        wanted=max(0, end - max(sequence.logits_from, sequence.computed)),
    )
