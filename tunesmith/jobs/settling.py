"""What becomes of a job when a step of its work has ended: written once, under a lock on the job, with what it says and
the model that it made.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tunesmith.errors import DatabaseError
from tunesmith.jobs.auto import resolve
from tunesmith.jobs.folder import JobFolder, Outcome
from tunesmith.jobs.models import tuned_model
from tunesmith.store.jobs import JobStore, Said
from tunesmith.types.jobs import Job, JobError
from tunesmith.types.tuned import TunedModel

__all__ = ["RETRY_SECONDS", "Settling", "patiently"]

RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def patiently(call: Callable[[], Result]) -> Result:
    """The result of `call`, however long the database is away."""
    while True:
        try:
            return call()
        except DatabaseError as error:
            _log.warning("the database cannot be reached: %s", error)
            time.sleep(RETRY_SECONDS)


class Settling:
    """Settles the jobs in `store`, whose folders are under `home`; what it did already it does not do again."""

    def __init__(self, home: Path, store: JobStore) -> None:
        self._home, self._store = home, store

    def after_check(self, identity: str, turn: int, found: dict[str, Any]) -> None:
        """The job waits in the queue, or has failed: `found` has its number of "rows" or its "error"."""
        error = JobError.model_validate(found["error"]) if found["error"] else None

        def settled(job: Job) -> Job:
            changes: dict[str, Any] = {"worker": None}
            if error is None:
                changes |= {"rows": found["rows"], "resolved": resolve(job.request.method, found["rows"])}
            if job.status == "validating_files" and job.turn == turn:
                changes |= {"status": "queued"} if error is None else self._failed(error)
            return job.model_copy(update=changes)

        def said(job: Job) -> Sequence[Said]:
            validated: Said = ("Files validated, moving job to queued state", "validated", {})
            return [validated] if job.status == "queued" else _end(job)

        patiently(lambda: self._store.change(identity, settled, said))

    def after_training(self, identity: str, turn: int, ended: str) -> None:
        """The job has succeeded or failed with what its trainer left when that `ended` as "done"; "released", it waits
        for another turn; "stopped", it stays what somebody made of it.
        """
        folder = JobFolder(self._home, identity)
        outcome = folder.outcome() if ended == "done" else None

        def settled(job: Job) -> Job | None:
            if job.finished and job.worker is None:
                return None  # this worker settled it before, and was killed before DBOS knew
            changes: dict[str, Any] = {"worker": None}
            if outcome is not None and job.status == "running" and job.turn == turn:
                changes |= self._failed(outcome.error) if outcome.error else self._succeeded(outcome)
            elif ended == "released" and job.status == "running" and job.turn == turn:
                changes |= {"status": "queued", "turn": job.turn + 1}
            return job.model_copy(update=changes)

        def made(job: Job) -> TunedModel | None:
            if outcome is None or outcome.release is None or job.status != "succeeded" or job.model is None:
                return None
            return tuned_model(job, job.model, outcome.release, self._store.now())

        patiently(lambda: self._store.change(identity, settled, _end, made))

    def _failed(self, error: JobError) -> dict[str, Any]:
        return {"status": "failed", "error": error, "finished_at": self._store.now()}

    def _succeeded(self, outcome: Outcome) -> dict[str, Any]:
        found = {"model": outcome.model, "trained_tokens": outcome.trained_tokens, "result_files": outcome.result_files}
        return {"status": "succeeded", "finished_at": self._store.now(), **found}


def _end(job: Job) -> Sequence[Said]:
    """What a job says at its end; nothing before it."""
    if job.status == "succeeded":
        created: Said = (f"New fine-tuned model created: {job.model}", "created-model", {})
        return created, ("The job has successfully completed", "completed", {})
    if job.status == "failed":
        return [(f"The job failed: {job.error.message if job.error else ''}", "failed", {"level": "error"})]
    return ()
