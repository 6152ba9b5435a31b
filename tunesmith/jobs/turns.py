"""The durable workflows of a worker: what is done for a job, step by step, each step once, across crashes.

    check   read every row of the job's files; then the job waits in the queue, or has failed
    train   run the trainer until it is done, stopped or failed; then settle what became of the job

DBOS remembers in its tables (of the same PostgreSQL database, or a SQLite file of its own) which steps of a workflow
are done, and goes on with the next when a worker comes back. A workflow belongs to one turn of a job: a job that is
paused and resumed, or handed back by a worker that is stopped, begins another turn.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID

from tunesmith.errors import DatabaseError, DataError
from tunesmith.jobs.auto import resolve
from tunesmith.jobs.checking import count_rows, data_error
from tunesmith.jobs.folder import JobFolder, Outcome
from tunesmith.jobs.processes import start_child
from tunesmith.jobs.recipe import write_recipe
from tunesmith.jobs.settling import RETRY_SECONDS, Settling, patiently
from tunesmith.jobs.supervisor import settings_environment
from tunesmith.settings import Settings
from tunesmith.store.jobs import JobStore, Said
from tunesmith.types.jobs import Job, JobError

__all__ = ["Turns"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 8.0
_CRASHES = 10


@DBOS.dbos_class()
class Turns(DBOSConfiguredInstance):
    """The workflows of one worker that runs at most `trainers` at once; `stopping` is set when the worker ends, `ended`
    when a workflow has.
    """

    def __init__(self, settings: Settings, store: JobStore, worker: str, trainers: int) -> None:
        super().__init__("turns")
        self._settings, self._store, self._worker = settings, store, worker
        self._settling = Settling(settings.home, store)
        self._training = threading.BoundedSemaphore(trainers)
        self._busy: set[str] = set()
        self.stopping, self.ended = threading.Event(), threading.Event()

    def busy(self) -> frozenset[str]:
        """The workflows that this process carries out now."""
        return frozenset(self._busy)

    def start(self, job: Job) -> str:
        """Begin (or find begun) what the job as it is needs: its check, or its training. The workflow's id."""
        work, name = (self.check, "check") if job.status == "validating_files" else (self.train, "train")
        identity = f"{job.id}/{job.turn}/{name}"
        with SetWorkflowID(identity):
            DBOS.start_workflow(work, job.id, job.turn)
        return identity

    @DBOS.workflow(max_recovery_attempts=None)
    def check(self, identity: str, turn: int) -> None:
        """Read the rows, then settle what follows from them."""
        with self._carrying_out(identity, turn, "check"):
            found = DBOS.run_step({"name": "read"}, self._read, identity)
            DBOS.run_step({"name": "settle"}, self._settling.after_check, identity, turn, found)

    @DBOS.workflow(max_recovery_attempts=None)
    def train(self, identity: str, turn: int) -> None:
        """Train, then settle."""
        with self._carrying_out(identity, turn, "train"):
            ended = DBOS.run_step({"name": "train"}, self._run_trainer, identity, turn)
            DBOS.run_step({"name": "settle"}, self._settling.after_training, identity, turn, ended)

    def _carrying_out(self, identity: str, turn: int, name: str) -> _Carried:
        return _Carried(self._busy, f"{identity}/{turn}/{name}", self.ended)

    def _read(self, identity: str) -> dict[str, Any]:
        """The number of rows, or the error."""
        job = patiently(lambda: self._store.job(identity))
        if job is None:
            return {"error": None, "rows": 0}
        try:
            return {"error": None, "rows": count_rows(job, JobFolder(self._settings.home, identity))}
        except DataError as error:
            return {"error": data_error(error).model_dump(), "rows": 0}
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not hang; the log has all of it
            _log.exception("checking %s broke", identity)
            return {"error": _unexpected(error).model_dump(), "rows": 0}

    def _run_trainer(self, identity: str, turn: int) -> str:
        """How training ended, when the trainer before it has."""
        while not self._training.acquire(timeout=_LOOK_SECONDS):
            if self.stopping.is_set():
                return "released"
        try:
            return self._trained(identity, turn)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not hang; the log has all of it
            _log.exception("training %s broke", identity)
            JobFolder(self._settings.home, identity).leave(Outcome(error=_unexpected(error)))
            return "done"
        finally:
            self._training.release()

    def _trained(self, identity: str, turn: int) -> str:
        """Start the trainer, again after a crash, until it is done ("done") or not wanted any more ("stopped"), or this
        worker ends ("released").
        """
        folder = JobFolder(self._settings.home, identity)
        crashes, furthest = 0, -1
        while True:
            job = patiently(lambda: self._store.job(identity))
            if job is None or job.turn != turn or job.status != "running":
                return "stopped"
            if folder.outcome() is not None:
                return "done"
            write_recipe(job, job.resolved or resolve(job.request.method, job.rows or 1), folder)
            if not self._begin(identity, turn):
                return "stopped"
            if ended := self._watch(identity, turn, folder):
                return ended
            self.stopping.wait(RETRY_SECONDS)
            step = job.progress.step if job.progress else 0
            crashes, furthest = (0, step) if step > furthest else (crashes + 1, furthest)
            if crashes >= _CRASHES:
                tail = "\n".join(folder.log.read_text(errors="replace").splitlines()[-5:])
                _log.error("the trainer of %s ends again and again: %s", identity, tail)
                message = f"The training process ended {crashes} times without getting further."
                folder.leave(Outcome(error=JobError(code="server_error", message=message)))

    def _begin(self, identity: str, turn: int) -> bool:
        """Say that training begins, unless the job was cancelled or paused by now."""

        def still_wanted(job: Job) -> Job | None:
            return job if job.status == "running" and job.turn == turn else None

        begun: Said = ("Fine-tuning job started" if turn == 0 else "Fine-tuning job resumed", f"started-{turn}", {})
        return patiently(lambda: self._store.change(identity, still_wanted, lambda _: [begun])) is not None

    def _watch(self, identity: str, turn: int, folder: JobFolder) -> str | None:
        """Run the trainer once; None when it crashed."""
        child = start_child(
            ["-m", "tunesmith.jobs.trainer", identity], settings_environment(self._settings), folder.log
        )
        while child.wait(_LOOK_SECONDS) is None:
            if self.stopping.is_set():
                child.stop(_STOP_SECONDS)
                return "released"
            try:
                job = self._store.job(identity)
            except DatabaseError:
                continue  # training goes on without the database
            if job is None or job.status != "running" or job.turn != turn:
                child.stop(_STOP_SECONDS)
                return "stopped"
        child.stop(0)
        return "done" if folder.outcome() is not None else None


def _unexpected(error: Exception) -> JobError:
    """A failure that nobody foresaw: without words that might tell of this machine."""
    return JobError(code="server_error", message=f"Internal error: {type(error).__name__}.")


class _Carried:
    """Notes a workflow as carried out by this process, and its end."""

    def __init__(self, busy: set[str], identity: str, ended: threading.Event) -> None:
        self._busy, self._identity, self._ended = busy, identity, ended

    def __enter__(self) -> None:
        self._busy.add(self._identity)

    def __exit__(self, *_: object) -> None:
        self._busy.discard(self._identity)
        self._ended.set()
