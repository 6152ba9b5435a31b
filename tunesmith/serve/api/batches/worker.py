"""Answers the requests of batches in the background, through the server's own endpoints, as their caller.

    validating -> in_progress -> finalizing -> completed
        |             |-> (24 hours over) -> expired
        v             v
      failed      cancelling -> cancelled

Every answer is stored when it comes. A server that starts again, or another one on the same database, goes on with the
lines that have none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from tunesmith.errors import DatabaseError, NotFound
from tunesmith.serve.access import KeyGone
from tunesmith.serve.api.batches.requests import Request, answer, check, requests_of, unanswered
from tunesmith.serve.api.batches.tasks import stop, to_the_end
from tunesmith.serve.caller import Caller
from tunesmith.serve.inside import client_of
from tunesmith.serve.platform import Platform
from tunesmith.types.batches import OPEN, Batch, BatchProblem
from tunesmith.types.files import FileDetails, StoredFile

__all__ = ["Pace", "work_on", "working"]

_log = logging.getLogger(__name__)

_TOO_LATE = "The batch was not finished within its completion window; this request was not answered."


class Pace(NamedTuple):
    """How many batches are worked on at once and how many requests of each; seconds between two looks for a batch, two
    renewals of a lease, and until a lease ends by itself; what the time is (Unix seconds).
    """

    batches: int = 4
    requests: int = 4
    look: float = 1.0
    renew: float = 2.0
    lease: int = 12
    clock: Callable[[], float] = time.time


class _Lost(Exception):
    """Another server works on the batch, or has ended it."""


@asynccontextmanager
async def working(platform: Platform, app: ASGIApp, pace: Pace | None = None) -> AsyncIterator[None]:
    """Work on batches in the background as long as the block lasts; what is unfinished then is given back."""
    task = asyncio.create_task(_for_ever(platform, app, pace or Pace()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _for_ever(platform: Platform, app: ASGIApp, pace: Pace) -> None:
    worker = secrets.token_hex(16)
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            batch = None
            if len(running) < pace.batches:
                with _patiently():
                    batch = await asyncio.to_thread(platform.batches.claim, worker, int(pace.clock()), pace.lease)
            if batch is None:
                await asyncio.sleep(pace.look)
                continue
            task = asyncio.create_task(work_on(batch, platform, app, worker, pace))
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextmanager
def _patiently() -> Iterator[None]:
    """What the database or the disk refuses is tried again later."""
    try:
        yield
    except (DatabaseError, OSError):
        _log.exception("batches wait for the database or the disk")


async def work_on(batch: Batch, platform: Platform, app: ASGIApp, worker: str, pace: Pace) -> None:
    """Take the batch, which `worker` has the lease of, to its end, or as far as it goes until it is stopped."""
    with _patiently():  # until the lease ends
        work = _Work(batch, platform, app, worker, pace)
        try:
            await work.run()
        except _Lost:
            _log.info("the batch %s is worked on by another server now", batch.id)
        except asyncio.CancelledError:
            with suppress(DatabaseError):  # the lease ends by itself
                platform.batches.release(batch, worker)
            raise
        except (DatabaseError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - logged, and told in the batch
            _log.exception("the batch %s failed", batch.id)
            await work.fail(BatchProblem(code="server_error", message=f"Internal error: {type(error).__name__}."))


class _Work:
    """One batch in the hands of one worker."""

    def __init__(self, batch: Batch, platform: Platform, app: ASGIApp, worker: str, pace: Pace) -> None:
        self._batch, self._platform, self._app, self._worker, self._pace = batch, platform, app, worker, pace
        self._store = platform.batches
        self._changing = asyncio.Lock()

    async def run(self) -> None:
        """Every step from where the batch stands to its end."""
        await self._holding(self._steps())

    async def fail(self, problem: BatchProblem) -> None:
        """End the batch as failed, unless another server has it: requests without an answer are errors of `problem`."""
        with suppress(_Lost):
            await self._renew()
            await self._holding(self._write_off(problem))

    async def _holding(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, the lease renewed all the while. Raises _Lost when another server has the batch."""
        tasks = {asyncio.create_task(work), asyncio.create_task(self._beat())}
        try:
            for done in (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]:
                done.result()
        finally:
            await stop(tasks)

    async def _write_off(self, problem: BatchProblem) -> None:
        try:
            file = await asyncio.to_thread(self._platform.files.get, self._batch.project, self._batch.input_file_id)
            await self._leave(file, problem.code, problem.message)
        except NotFound:
            _log.info("the requests of the failed batch %s were deleted", self._batch.id)
        except (DatabaseError, OSError):
            raise
        except Exception:  # noqa: BLE001 - they may be what it failed of; the answers are kept all the same
            _log.exception("the requests of the failed batch %s cannot be read", self._batch.id)
        await self._finish("failed", problems=(problem,))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.renew)
            await self._renew()

    async def _renew(self) -> None:
        async with self._changing:
            until = self._now() + self._pace.lease
            found = await asyncio.to_thread(self._store.renew, self._batch, self._worker, until)
            if found is None:
                raise _Lost
            self._batch = found

    async def _steps(self) -> None:
        over = False
        if self._batch.status in ("validating", "in_progress"):
            try:
                file = await asyncio.to_thread(self._platform.files.get, self._batch.project, self._batch.input_file_id)
            except NotFound as error:
                problem = BatchProblem(code="file_not_found", message=error.message, param="input_file_id")
                await self._finish("failed", problems=(problem,))
                return
            if self._batch.status == "validating" and not await self._validate(file):
                return
            if self._batch.status == "in_progress" and not await self._answer_all(file):
                gone = KeyGone()
                await self._write_off(BatchProblem(code=str(gone.code), message=gone.message))
                return
            over = self._batch.status == "in_progress" and self._over()
            if over:
                await self._leave(file, "batch_expired", _TOO_LATE)
        if self._batch.status == "in_progress" and not over:
            await self._change(status="finalizing", finalizing_at=self._now())
        await self._finish("expired" if over else "cancelled" if self._batch.status == "cancelling" else "completed")

    async def _validate(self, file: StoredFile) -> bool:
        found = await asyncio.to_thread(check, self._platform.files.path(file), self._batch.endpoint)
        if found.problems:
            await self._finish("failed", problems=found.problems)
            return False
        counts = self._batch.counts.model_copy(update={"total": found.total})
        await self._change(counts=counts, model=found.model)
        if self._batch.status == "validating":
            await self._change(status="in_progress", in_progress_at=self._now())
        return True

    async def _answer_all(self, file: StoredFile) -> bool:
        """Until all lines are answered, the time is over or somebody cancels; False: until the key is gone."""
        keys, key = self._platform.keys, self._batch.key
        if not await keys.goes_on(key):
            return False
        answering = asyncio.create_task(self._answer_lines(file))
        try:
            while not answering.done() and self._batch.status == "in_progress" and not self._over():
                await asyncio.wait({answering}, timeout=self._pace.look)
                if not answering.done() and not await keys.goes_on(key):
                    return False
            if answering.done():
                answering.result()
        except KeyGone:  # what a line was told
            return False
        finally:
            await stop({answering})
        return True

    async def _answer_lines(self, file: StoredFile) -> None:
        waiting = await self._open_requests(file)
        turn = asyncio.Lock()
        caller = Caller(project=self._batch.project, key=self._batch.key, role=self._batch.role)

        async def answer_some() -> None:
            async with client_of(self._app, caller) as client:
                while True:
                    async with turn:
                        request = await asyncio.to_thread(next, waiting, None)
                    if request is None:
                        return
                    result = await answer(client, self._batch.endpoint, request)
                    await to_the_end(partial(self._store.add_result, self._batch, result))

        tasks = {asyncio.create_task(answer_some()) for _ in range(self._pace.requests)}
        try:
            await asyncio.gather(*tasks)
        finally:
            await stop(tasks)

    async def _open_requests(self, file: StoredFile) -> Iterator[Request]:
        """The requests that have no answer yet."""
        answered = await asyncio.to_thread(self._store.answered, self._batch)
        path = self._platform.files.path(file)
        return (request for request in requests_of(path) if request.line not in answered)

    async def _leave(self, file: StoredFile, code: str, message: str) -> None:
        """Make every request that has no answer an error."""
        waiting = await self._open_requests(file)
        while (request := await asyncio.to_thread(next, waiting, None)) is not None:
            result = unanswered(request, code, message)
            await asyncio.to_thread(self._store.add_result, self._batch, result)

    async def _finish(self, status: str, **more: Any) -> None:
        """End the batch; the answers that there are get their files, whatever the end."""
        output, errors = [await asyncio.to_thread(self._write, failed) for failed in (False, True)]
        changes = {"status": status, f"{status}_at": self._now(), "output_file_id": output, "error_file_id": errors}
        await asyncio.to_thread(lambda: self._store.finish(self._batch, **changes, **more))

    def _write(self, failed: bool) -> str | None:
        """The id of the file of answers, or of errors; None when there are none. A file written before is taken."""
        batch, files = self._batch, self._platform.files
        name = f"{batch.id}_{'error' if failed else 'output'}.jsonl"
        known = files.named(batch.project, "batch_output", name)
        if known is not None:
            return known.id
        kept = batch.output_expires_after
        details = FileDetails(
            project=batch.project,
            filename=name,
            purpose="batch_output",
            expires_at=None if kept is None else self._now() + kept,
        )
        with files.draft() as draft:
            for line in self._store.results(batch, failed=failed):
                draft.write(line.encode())
            return files.keep(details, draft).id if draft.size else None

    async def _change(self, **changes: Any) -> None:
        """Change the batch, unless somebody cancelled it meanwhile: then take notice of that."""

        def changed(batch: Batch) -> Batch:
            if batch.status not in OPEN:
                raise _Lost
            if batch.status == "cancelling":
                changes.pop("status", None)
            return batch.model_copy(update=changes)

        async with self._changing:
            self._batch = await asyncio.to_thread(self._store.change, self._batch.project, self._batch.id, changed)

    def _over(self) -> bool:
        return self._pace.clock() >= self._batch.expires_at

    def _now(self) -> int:
        return int(self._pace.clock())
