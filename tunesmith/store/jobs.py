"""Fine-tuning jobs, their events and checkpoints in the database.

A job's `content` is its JSON; what queries look at stands in columns of its own. A job is changed only under a lock on
its row, by functions from the job as it is to the job as it shall be.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, object_session

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.store.database import Database
from tunesmith.store.job_rows import CheckpointRow, EventRow, JobRow
from tunesmith.store.tuned import add_tuned
from tunesmith.store.webhooks import add_event
from tunesmith.store.windows import cursor
from tunesmith.types.jobs import FINISHED, Job, JobCheckpoint, JobEvent, JobRequest
from tunesmith.types.tuned import JOB_PREFIX, TunedModel
from tunesmith.types.webhooks import EventType

__all__ = ["Cut", "JobStore", "KeyReused", "Retry", "Said"]

_EVENTS: Mapping[str, EventType] = MappingProxyType(
    {
        "succeeded": "fine_tuning.job.succeeded",
        "failed": "fine_tuning.job.failed",
        "cancelled": "fine_tuning.job.cancelled",
    }
)

Said = tuple[str, str, Mapping[str, Any]]
"""An event: message, key, other fields."""


class KeyReused(TunesmithError):
    """The Idempotency-Key was used before, with another request."""


class Cut(NamedTuple):
    """A part of a list and whether more follows."""

    items: tuple[Any, ...]
    has_more: bool


class Retry(NamedTuple):
    """How a request that is sent again is known: its key where the client gave one, the digest of its body, and whether
    the client says that it asks again.
    """

    key: str | None
    body: str
    again: bool = False


class JobStore:
    """The jobs in `database`; `clock` gives Unix seconds."""

    AGAIN_SECONDS = 600
    """How long the same body, sent again by a client that says so, means the same job."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> int:
        """The time in whole Unix seconds."""
        return int(self._clock())

    @staticmethod
    def new_identity() -> str:
        """An id that no job has."""
        return f"{JOB_PREFIX}{secrets.token_hex(12)}"

    def create(self, identity: str, request: JobRequest, retry: Retry) -> tuple[Job, bool]:
        """A new job, and True; or the one that the same request made before, and False.

        Raises KeyReused when the key came with another body before.
        """
        try:
            return self._create(identity, request, retry)
        except IntegrityError:  # the same key came to another server or thread just now, whose job is there by now
            return self._create(identity, request, retry)

    def _create(self, identity: str, request: JobRequest, retry: Retry) -> tuple[Job, bool]:
        with self._database.transaction() as session:
            if known := self._known(session, request.project, retry):
                if known.body != retry.body:
                    raise KeyReused()
                return _job(known), False
            job = Job(id=identity, request=request, status="validating_files", created_at=self.now())
            session.add(JobRow(project=request.project, retry_key=retry.key, body=retry.body, **_columns(job)))
            session.flush()
            created: Said = (f"Created fine-tuning job: {job.id}", "created", {})
            validating: Said = (f"Validating training file: {request.training_file}", "validating", {})
            self._add_events(session, job, (created, validating))
            return job, True

    def get(self, project: str, identity: str) -> Job:
        """The job of `project`. Raises NotFound."""
        with self._database.transaction() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == identity, JobRow.project == project))
            if row is None:
                raise NotFound(f"Could not find fine tune: {identity}")
            return _job(row)

    def list(self, project: str, limit: int, after: str | None, metadata: Mapping[str, str]) -> Cut:
        """At most `limit` jobs of `project` that have all of `metadata`, newest first, those after the job `after`.

        Raises UnknownCursor when there is no job `after`.
        """
        query = select(JobRow).where(JobRow.project == project).order_by(JobRow.number.desc())
        with self._database.transaction() as session:
            if after is not None:
                query = query.where(JobRow.number < _number(session, JobRow, after, JobRow.project == project))
            if not metadata:
                query = query.limit(limit + 1)
            jobs: list[Job] = []
            for row in session.scalars(query.execution_options(yield_per=100)):
                job = _job(row)
                if metadata.items() <= (job.request.metadata or {}).items():
                    jobs.append(job)
                if len(jobs) > limit:
                    break
        return Cut(tuple(jobs[:limit]), len(jobs) > limit)

    def unfinished(self) -> tuple[Job, ...]:
        """All jobs of all projects that are not finished, oldest first."""
        with self._database.transaction() as session:
            rows = session.scalars(select(JobRow).where(JobRow.status.not_in(FINISHED)).order_by(JobRow.number))
            return tuple(map(_job, rows))

    def latest(self, limit: int) -> tuple[Job, ...]:
        """The last jobs that succeeded, newest first."""
        query = select(JobRow).where(JobRow.status == "succeeded").order_by(JobRow.number.desc()).limit(limit)
        with self._database.transaction() as session:
            return tuple(map(_job, session.scalars(query)))

    def job(self, identity: str) -> Job | None:
        """The job of any project, for workers."""
        with self._database.transaction() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == identity))
            return None if row is None else _job(row)

    def change(
        self,
        identity: str,
        change: Callable[[Job], Job | None],
        said: Callable[[Job], Sequence[Said]] = lambda _: (),
        made: Callable[[Job], TunedModel | None] = lambda _: None,
    ) -> Job | None:
        """The job as `change` makes it of what it is now; None when there is none, or `change` wants none.

        What the changed job has to say (`said`) and the model that it has `made` are written with it, so that neither
        is lost between the two, and neither comes after what another change made.
        """
        with self._database.transaction() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == identity).with_for_update())
            changed = change(_job(row)) if row is not None else None
            if row is not None and changed is not None:
                _write(row, changed)
                self._add_events(session, changed, said(changed))
                if model := made(changed):
                    add_tuned(session, model)
            return changed

    def claim(self, choose: Callable[[Sequence[Job]], Sequence[Job]]) -> tuple[Job, ...]:
        """The jobs that `choose` takes of all that are not finished, changed by it; nobody chooses at the same time."""
        query = select(JobRow).where(JobRow.status.not_in(FINISHED)).order_by(JobRow.number).with_for_update()
        with self._database.transaction() as session:
            rows = {row.id: row for row in session.scalars(query)}
            taken = tuple(choose([_job(row) for row in rows.values()]))
            for job in taken:
                _write(rows[job.id], job)
            return taken

    def inherit(self, dead: str, heir: str) -> tuple[Job, ...]:
        """The jobs that the worker `dead` was busy with; from now on `heir` is."""

        def theirs(jobs: Sequence[Job]) -> Sequence[Job]:
            return [job.model_copy(update={"worker": heir}) for job in jobs if job.worker == dead]

        return self.claim(theirs)

    def busy(self) -> frozenset[str]:
        """The workers that jobs say are busy with them."""
        query = select(JobRow.worker).where(JobRow.worker.is_not(None), JobRow.status.not_in(FINISHED)).distinct()
        with self._database.transaction() as session:
            return frozenset(name for name in session.scalars(query) if name)

    def say_all(self, job: Job, events: Sequence[Said]) -> None:
        """Add events, each (message, key, other fields), in this order; those whose key is there are left out.

        A job that has ended says nothing more: what its trainer did until it was stopped is not told after its end.
        """
        with self._database.transaction() as session:
            status = session.scalar(select(JobRow.status).where(JobRow.id == job.id).with_for_update())
            if status not in FINISHED:
                self._add_events(session, job, events)

    def _add_events(self, session: Session, job: Job, events: Sequence[Said]) -> None:
        keys = [key for _, key, _ in events]
        said = set(session.scalars(select(EventRow.key).where(EventRow.job == job.id, EventRow.key.in_(keys))))
        for message, key, more in events:
            if key not in said:
                identity = f"ftevent-{secrets.token_hex(12)}"
                said.add(key)
                fields = {"id": identity, "job": job.id, "created_at": self.now(), "message": message, "key": key}
                content = JobEvent.model_validate(fields | dict(more)).model_dump_json()
                session.add(EventRow(id=identity, project=job.project, job=job.id, key=key, content=content))
        session.flush()

    def events(self, job: Job, limit: int, after: str | None) -> Cut:
        """At most `limit` events of `job`, newest first, those after the event `after`. Raises UnknownCursor."""
        return self._cut(EventRow, JobEvent, job, limit, after)

    def add_checkpoint(self, job: Job, checkpoint: JobCheckpoint, model: TunedModel, said: Said) -> None:
        """Add a checkpoint of `job`, the model that it is asked as and the event that tells of it, all or nothing: not
        when the step's is there, nor when the job has ended, as a job that was cancelled makes no model any more.
        """
        ours = CheckpointRow.job == checkpoint.job
        with self._database.transaction() as session:
            status = session.scalar(select(JobRow.status).where(JobRow.id == job.id).with_for_update())
            known = session.scalar(select(CheckpointRow.id).where(ours, CheckpointRow.step == checkpoint.step))
            if known is None and status not in FINISHED:
                of_job = {"project": job.project, "job": checkpoint.job, "step": checkpoint.step}
                session.add(CheckpointRow(id=checkpoint.id, content=checkpoint.model_dump_json(), **of_job))
                add_tuned(session, model)
                self._add_events(session, job, [said])

    def checkpoints(self, job: Job, limit: int, after: str | None) -> Cut:
        """At most `limit` checkpoints of `job`, newest first, those after the checkpoint `after`. Raises
        UnknownCursor.
        """
        return self._cut(CheckpointRow, JobCheckpoint, job, limit, after)

    def _cut(self, rows: type[Any], kind: type[Any], job: Job, limit: int, after: str | None) -> Cut:
        query = select(rows).where(rows.job == job.id, rows.project == job.project).order_by(rows.number.desc())
        with self._database.transaction() as session:
            if after is not None:
                query = query.where(rows.number < _number(session, rows, after, rows.job == job.id))
            found = session.scalars(query.limit(limit + 1)).all()
        return Cut(tuple(kind.model_validate_json(row.content) for row in found[:limit]), len(found) > limit)

    def _known(self, session: Session, project: str, retry: Retry) -> JobRow | None:
        mine = select(JobRow).where(JobRow.project == project)
        if retry.key is not None:
            return session.scalar(mine.where(JobRow.retry_key == retry.key))
        if not retry.again:
            return None
        lately = JobRow.created_at >= self.now() - self.AGAIN_SECONDS
        return session.scalar(mine.where(JobRow.body == retry.body, lately).order_by(JobRow.number.desc()).limit(1))


def _columns(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "worker": job.worker,
        "created_at": job.created_at,
        "content": job.model_dump_json(),
    }


def _write(row: JobRow, job: Job) -> None:
    """Write `job` into its row, and tell webhooks when it has just ended."""
    session = object_session(row)
    if row.status != job.status and job.status in _EVENTS and session is not None:
        add_event(session, row.project, _EVENTS[job.status], job.id)
    for name, value in _columns(job).items():
        setattr(row, name, value)


def _job(row: JobRow) -> Job:
    return Job.model_validate_json(row.content)


def _number(session: Session, rows: type[Any], identity: str, mine: Any) -> int:
    """The place of the row `identity` in its list. Raises UnknownCursor."""
    with cursor(identity):
        number = session.scalar(select(rows.number).where(rows.id == identity, mine))
        if number is None:
            raise NotFound()
    return int(number)
