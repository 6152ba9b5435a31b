"""Runs of evals in the background of the server: claimed one at a time, kept row by row, taken up after a stop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple

import httpx
from fastapi import FastAPI
from pydantic import TypeAdapter

from tunesmith.errors import DatabaseError, TunesmithError
from tunesmith.grade.grader import Answered
from tunesmith.grade.judge import Judge
from tunesmith.serve.access import KeyGone
from tunesmith.serve.api.evals.answers import Said
from tunesmith.serve.api.evals.asking import answer_to
from tunesmith.serve.api.evals.criteria import Judged, judged
from tunesmith.serve.api.evals.data_sources import DataSource, SourceRow
from tunesmith.serve.api.evals.sources import rows_of
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import as_api_error
from tunesmith.serve.inside import client_of, judge_of
from tunesmith.serve.service import Service
from tunesmith.store.eval_work import EvalWork
from tunesmith.store.evals import EvalStore
from tunesmith.types.evals import EvalItem, EvalRun, ItemStatus, RunError

__all__ = ["EvalRunner", "running_evals"]

_log = logging.getLogger(__name__)
_SOURCE: TypeAdapter[DataSource] = TypeAdapter(DataSource)

AT_ONCE = 2
"""runs"""
BATCH = 8
"""rows of a run whose answers are asked for together"""
POLL_SECONDS = 1.0
CLAIM_SECONDS = 15
BEAT_SECONDS = 2.0

Row = tuple[int, SourceRow]


class _Tools(NamedTuple):
    """What the rows of one run are tested with."""

    source: DataSource
    criteria: list[Judged]
    client: httpx.AsyncClient
    judge: Judge


@asynccontextmanager
async def running_evals(app: FastAPI, service: Service) -> AsyncIterator[None]:
    """Runs are worked on inside the block; what is not finished at its end is taken up by the next server."""
    work = EvalWork(service.platform.database)
    if service.platform.database.is_sqlite:
        await asyncio.to_thread(work.release_all)
    workers = [asyncio.create_task(EvalRunner(app, service, work).work()) for _ in range(AT_ONCE)]
    try:
        yield
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class EvalRunner:
    """Works on one run after the other."""

    def __init__(self, app: FastAPI, service: Service, work: EvalWork) -> None:
        self._app = app
        self._platform = service.platform
        self._evals = EvalStore(service.platform.database)
        self._work = work

    async def work(self) -> None:
        """Take up runs for ever. Trouble with the database is logged, and waited out."""
        while True:
            try:
                now = int(time.time())
                run = await asyncio.to_thread(self._work.claim, now, now + CLAIM_SECONDS)
                if run is not None:
                    await self._finish(run)
                    continue
            except Exception:  # noqa: BLE001 - logged with its traceback; the next run must not suffer for it
                _log.exception("evals wait for the database")
            await asyncio.sleep(POLL_SECONDS)

    async def _finish(self, run: EvalRun) -> None:
        """Work on a claimed run while the claim holds."""
        task = asyncio.create_task(self._test(run))
        try:
            while not (await asyncio.wait({task}, timeout=BEAT_SECONDS))[0]:
                if not await asyncio.to_thread(self._work.extend, run, int(time.time()) + CLAIM_SECONDS):
                    return  # canceled or deleted
            await self._end(run, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Of a finished run this changes nothing; of one that is cut short it lets the next server go on at once.
            await asyncio.to_thread(self._work.extend, run, 0)

    async def _end(self, run: EvalRun, task: asyncio.Task[None]) -> None:
        error: RunError | None = None
        try:
            task.result()
        except DatabaseError:
            raise  # the run itself is sound: whoever claims it next goes on
        except TunesmithError as reason:
            known = as_api_error(reason)
            error = RunError(code=known.code or known.kind, message=known.message)
        except Exception as reason:  # noqa: BLE001 - logged with its traceback, and told in the run's error
            _log.exception("the eval run %s broke", run.id)
            error = RunError(code="server_error", message=f"Internal error: {type(reason).__name__}.")
        await asyncio.to_thread(self._work.finish, run, "completed" if error is None else "failed", error)

    async def _test(self, run: EvalRun) -> None:
        """Test the rows that are not done yet. Raises ApiError when the key that began the run is gone."""
        found = await asyncio.to_thread(self._evals.get, run.project, run.eval_id)
        done = await asyncio.to_thread(self._work.places, run)
        source = _SOURCE.validate_python(run.data_source)
        caller = Caller(project=run.project, key=run.key)
        picks = await asyncio.to_thread(self._work.picks, run)
        rows = enumerate(rows_of(source, self._platform, run.project, picks))
        left = ((place, row) for place, row in rows if place not in done)
        async with client_of(self._app, caller) as client, judge_of(self._app, caller) as judge:
            tools = _Tools(source, judged(found.testing_criteria), client, judge)
            while batch := await asyncio.to_thread(_take, left):
                await self._require_key(run)
                items = await _items(run, batch, tools)
                await self._require_key(run)  # else a refusal of the key may be among the answers
                if not await asyncio.to_thread(self._work.record, run, items):
                    return

    async def _require_key(self, run: EvalRun) -> None:
        if not await self._platform.keys.goes_on(run.key):
            raise KeyGone


def _take(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, BATCH))


async def _items(run: EvalRun, batch: Sequence[Row], tools: _Tools) -> list[EvalItem]:
    """The tested rows of a batch: all answers first, then one criterion after the other over all of them."""
    said = await asyncio.gather(*(answer_to(tools.client, tools.source, row) for _, row in batch))
    answered = [
        Answered(one.sample, dict(row.item))
        for one, (_, row) in zip(said, batch, strict=True)
        if one.sample is not None
    ]
    verdicts = [await criterion.results(answered, tools.judge) for criterion in tools.criteria]
    by_row = iter(zip(*verdicts, strict=True))
    return [
        _item(run, row, one, () if one.sample is None else tuple(next(by_row)))
        for one, row in zip(said, batch, strict=True)
    ]


def _item(run: EvalRun, row: Row, said: Said, results: tuple[dict[str, object], ...]) -> EvalItem:
    place, content = row
    status: ItemStatus = "pass" if all(result["passed"] for result in results) else "fail"
    if said.sample is None or any(result["error"] for result in results):
        status = "error"
    return EvalItem(
        id=f"outputitem_{secrets.token_hex(12)}",
        run_id=run.id,
        eval_id=run.eval_id,
        created_at=int(time.time()),
        place=place,
        status=status,
        row=dict(content.item),
        results=results,
        sample=said.shown,
        usage=said.usage,
    )
