"""A worker: takes jobs from the queue that fit it, one at a time, and carries them through.

A worker is known by its slot: a file in home/workers that it holds locked as long as it lives. That lock is the lease
on its jobs: the system gives it up when the process ends in any way, and only then does another worker (or the same,
started again) take the jobs over. No clock is involved. The labels are part of the slot's name, so that only a worker
with the same labels takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from dbos import DBOS, DBOSConfig

from tunesmith.errors import DatabaseError
from tunesmith.jobs.order import choose_next
from tunesmith.jobs.slots import free_slot, group, take_slot
from tunesmith.jobs.tidying import Tidying
from tunesmith.jobs.turns import Turns
from tunesmith.settings import Settings
from tunesmith.store.database import Database
from tunesmith.store.jobs import JobStore
from tunesmith.types.jobs import Job

__all__ = ["work"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.3
_TAKE_OVER_SECONDS = 2.0
_TIDY_SECONDS = 60.0
_END_SECONDS = 15.0
_CHECKS_AT_ONCE = 2
_WORKFLOW_VERSION = "1"


def work(
    settings: Settings, labels: frozenset[str], stop: threading.Event, on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Take and carry out jobs until `stop` is set; then save a checkpoint of what is trained and hand it back.

    `on_ready` is called once with the worker's name.
    """
    slot = free_slot(settings.home, labels)
    database = Database(settings.database)
    store = JobStore(database)
    turns = Turns(settings, store, slot.name, trainers=1)
    DBOS(config=_config(settings, slot.name, labels))
    DBOS.launch()
    on_ready(slot.name)
    try:
        _Worker(settings, database, turns, slot.name, labels).run(stop)
    finally:
        turns.stopping.set()
        end = time.monotonic() + _END_SECONDS
        while turns.busy() and time.monotonic() < end:
            time.sleep(0.05)
        DBOS.destroy()
        database.close()
        slot.lock.close()


class _Worker:
    def __init__(self, settings: Settings, database: Database, turns: Turns, slot: str, labels: frozenset[str]) -> None:
        self._settings, self._store, self._turns = settings, JobStore(database), turns
        self._name, self._labels = slot, labels
        self._tidying = Tidying(settings.home, database)
        self._looked_for_dead = self._tidied = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Look for work until `stop` is set."""
        while True:
            try:
                self._look()
            except DatabaseError as error:
                _log.warning("the database cannot be reached: %s", error)
            if stop.wait(_LOOK_SECONDS):
                return

    def _look(self) -> None:
        if time.monotonic() - self._looked_for_dead > _TAKE_OVER_SECONDS:
            self._looked_for_dead = time.monotonic()
            self._take_over()
            self._go_on()
        for job in self._store.claim(self._choose):
            self._turns.start(job)
        if self._turns.ended.is_set() or time.monotonic() - self._tidied > _TIDY_SECONDS:
            self._tidied = time.monotonic()
            self._turns.ended.clear()
            self._tidy()

    def _tidy(self) -> None:
        try:
            self._tidying.sweep()
        except OSError as error:
            _log.warning("what ended jobs left cannot be looked for: %s", error)

    def _choose(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs to begin now, as ours."""
        mine = [job for job in jobs if job.worker == self._name]
        room = _CHECKS_AT_ONCE - sum(job.status == "validating_files" for job in mine)
        unread = [job for job in jobs if job.status == "validating_files" and job.worker is None]
        chosen = [job.model_copy(update={"worker": self._name}) for job in unread[: max(0, room)]]
        if not any(job.worker == self._name and job.status != "validating_files" for job in jobs):
            found = choose_next(jobs, self._labels, self._settings.jobs_per_project)
            if found is not None:
                begun = {"status": "running", "worker": self._name, "started_at": found.started_at or self._store.now()}
                chosen.append(found.model_copy(update=begun))
        return chosen

    def _take_over(self) -> None:
        """The jobs of workers that are dead and had our labels are ours now."""
        for name in self._store.busy() - {self._name}:
            if group(name) != group(self._name):
                continue
            lock = take_slot(self._settings.home, name)
            if lock is None:
                continue
            with lock:
                inherited = self._store.inherit(name, self._name)
                DBOS._recover_pending_workflows([name])
            _log.warning("took over %d jobs of %s, which is gone", len(inherited), name)

    def _go_on(self) -> None:
        """Begin what is ours but not carried out: a worker was killed between taking a job and beginning it, or a
        workflow has ended without settling its job.
        """
        carried = self._turns.busy()
        for job in self._store.unfinished():
            if job.worker != self._name or any(each.startswith(f"{job.id}/") for each in carried):
                continue
            status = DBOS.get_workflow_status(self._turns.start(job))
            if status is not None and status.status not in ("PENDING", "ENQUEUED", "DELAYED"):
                self._store.change(job.id, self._handed_back)

    def _handed_back(self, job: Job) -> Job | None:
        """The job free for another turn, if it is still ours."""
        if job.worker != self._name:
            return None
        status = "queued" if job.status == "running" else job.status
        return job.model_copy(update={"status": status, "worker": None, "turn": job.turn + 1})


def _config(settings: Settings, name: str, labels: frozenset[str]) -> DBOSConfig:
    """DBOS on the PostgreSQL database, or beside the SQLite file: its transactions are longer than ours."""
    url = settings.database_url or f"sqlite:///{settings.home / 'workflows.db'}"
    config: dict[str, Any] = {
        "name": "tunesmith",
        "system_database_url": url,
        "executor_id": name,
        # Only workers with the same labels go on with each other's workflows.
        "application_version": "-".join([_WORKFLOW_VERSION, *sorted(labels)]),
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    return DBOSConfig(**config)  # type: ignore[typeddict-item]
