"""Writes the audit log and what keys have spent, several requests in one transaction.

A request's entry is written a moment after its answer has ended; a server that is asked to stop writes the rest first.
A database that is away for a while delays the writing, and when many entries wait, the answers too; none is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from tunesmith.serve.limits import Accounts
from tunesmith.store.audit import append
from tunesmith.store.database import Database
from tunesmith.store.keys import add_spending
from tunesmith.types.audit import AuditEntry

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)

_WAITING = 10_000
_TOGETHER = 500
_GATHER_SECONDS = 0.05
_AGAIN_SECONDS = 1.0


class Recorder:
    """The writer over one database. `start` and `stop` run in the server's event loop."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts
        self._queue: asyncio.Queue[AuditEntry] = asyncio.Queue(_WAITING)
        self._work, self._stopping = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_on(), name="tunesmith-audit")

    async def record(self, entry: AuditEntry) -> None:
        """Have `entry` written; waits only when very many wait already."""
        await self._queue.put(entry)
        self._work.set()

    async def written(self) -> None:
        """Wait until what was recorded before is in the database."""
        await self._queue.join()

    async def stop(self) -> None:
        """Write what is left, and end. What cannot be written now is lost, and the server's log says so."""
        self._stopping.set()
        self._work.set()
        if self._task is not None:
            await self._task

    async def _write_on(self) -> None:
        while not (self._stopping.is_set() and self._queue.empty()):
            entries = await self._some()
            await self._save(entries)
            for _ in entries:
                self._queue.task_done()
        await self._save([])  # what was spent in the background

    async def _some(self) -> list[AuditEntry]:
        """What has gathered a moment after the first came; nothing when it is time to stop."""
        await self._work.wait()
        self._work.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _GATHER_SECONDS)
        entries = [self._queue.get_nowait() for _ in range(min(_TOGETHER, self._queue.qsize()))]
        if not self._queue.empty() or self._stopping.is_set():
            self._work.set()
        return entries

    async def _save(self, entries: list[AuditEntry]) -> None:
        while True:
            spent = self._accounts.take_unsaved()
            if not entries and not spent:
                return
            try:
                await asyncio.to_thread(self._write, entries, spent)
                return
            except Exception:  # noqa: BLE001 (whatever it is, the entries are kept and written later)
                self._accounts.give_back(spent)
                if self._stopping.is_set():
                    _log.exception("%d entries of the audit log were lost", len(entries))
                    return
                _log.exception("the audit log could not be written; it is tried again")
                await asyncio.sleep(_AGAIN_SECONDS)

    def _write(self, entries: list[AuditEntry], spent: dict[str, int]) -> None:
        with self._database.transaction() as session:
            if entries:
                append(session, entries)
            add_spending(session, spent)
