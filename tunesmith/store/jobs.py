"""Fine-tuning jobs, their events and checkpoints in the database.

A job's `content` is its JSON; what queries look at stands in columns of its own. A job is changed only under a lock on
its row, by functions from the job as it is to the job as it shall be.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.types.jobs import FINISHED, Job, JobCheckpoint, JobEvent, JobRequest

__all__ = ["CheckpointRow", "Cut", "EventRow", "JobRow", "JobStore", "Retry"]


class JobRow(Tables):
    """A job. `retry_key` tells a request that is sent again; `body` is the digest of what it said."""

    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("project", "retry_key", name="one_job_per_retry_key"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(String(32), index=True)
    worker: Mapped[str | None] = mapped_column(String(200), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    retry_key: Mapped[str | None] = mapped_column(String(255))
    body: Mapped[str] = mapped_column(String(64), index=True)
    content: Mapped[str] = mapped_column(Text)


class EventRow(Tables):
    """An event of a job; rows are only added."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job", "key", name="one_event_per_key"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    job: Mapped[str] = mapped_column(String(64), index=True)
    key: Mapped[str] = mapped_column(String(200))
    content: Mapped[str] = mapped_column(Text)


class CheckpointRow(Tables):
    """A checkpoint of a job that can be asked as a model."""

    __tablename__ = "job_checkpoints"
    __table_args__ = (UniqueConstraint("job", "step", name="one_checkpoint_per_step"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    job: Mapped[str] = mapped_column(String(64), index=True)
    step: Mapped[int]
    content: Mapped[str] = mapped_column(Text)


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

    def create(self, request: JobRequest, retry: Retry) -> tuple[Job, bool]:
        """A new job, and True; or the one that the same request made before, and False.

        Raises NotFound when the key was used with another body: then there is no such job.
        """
        with self._database.transaction() as session:
            if known := self._known(session, request.project, retry):
                if known.body != retry.body:
                    raise NotFound("The Idempotency-Key was used before, with another request.")
                return _job(known), False
            job = Job(
                id=f"ftjob-{secrets.token_hex(12)}", request=request, status="validating_files", created_at=self.now()
            )
            session.add(JobRow(project=request.project, retry_key=retry.key, body=retry.body, **_columns(job)))
            session.flush()
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

        Raises NotFound when there is no job `after`.
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

    def change(self, identity: str, change: Callable[[Job], Job | None]) -> Job | None:
        """The job as `change` makes it of what it is now; None when there is none, or `change` wants none."""
        with self._database.transaction() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == identity).with_for_update())
            changed = change(_job(row)) if row is not None else None
            if row is not None and changed is not None:
                _write(row, changed)
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
        query = select(JobRow.worker).where(JobRow.worker.is_not(None)).distinct()
        with self._database.transaction() as session:
            return frozenset(name for name in session.scalars(query) if name)

    def say(self, job: Job, message: str, key: str, **more: Any) -> None:
        """Add an event to `job`, unless one with this `key` is there."""
        self.say_all(job, [(message, key, more)])

    def say_all(self, job: Job, events: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Add events, each (message, key, other fields), in this order; those whose key is there are left out."""
        new = list(events)
        keys = [key for _, key, _ in new]
        with self._database.transaction() as session:
            session.scalar(select(JobRow.number).where(JobRow.id == job.id).with_for_update())
            said = set(session.scalars(select(EventRow.key).where(EventRow.job == job.id, EventRow.key.in_(keys))))
            for message, key, more in new:
                if key in said:
                    continue
                said.add(key)
                event = JobEvent.model_validate(
                    {
                        "id": f"ftevent-{secrets.token_hex(12)}",
                        "job": job.id,
                        "created_at": self.now(),
                        "message": message,
                        "key": key,
                        **more,
                    }
                )
                content = event.model_dump_json()
                session.add(EventRow(id=event.id, project=job.project, job=job.id, key=key, content=content))
                session.flush()

    def events(self, job: Job, limit: int, after: str | None) -> Cut:
        """At most `limit` events of `job`, newest first, those after the event `after`. Raises NotFound."""
        return self._cut(EventRow, JobEvent, job, limit, after)

    def add_checkpoint(self, project: str, checkpoint: JobCheckpoint) -> None:
        """Add a checkpoint, unless the step's is there."""
        with self._database.transaction() as session:
            known = select(CheckpointRow.id).where(
                CheckpointRow.job == checkpoint.job, CheckpointRow.step == checkpoint.step
            )
            if session.scalar(known) is None:
                session.add(
                    CheckpointRow(
                        id=checkpoint.id,
                        project=project,
                        job=checkpoint.job,
                        step=checkpoint.step,
                        content=checkpoint.model_dump_json(),
                    )
                )
                session.flush()

    def checkpoints(self, job: Job, limit: int, after: str | None) -> Cut:
        """At most `limit` checkpoints of `job`, newest first, those after the checkpoint `after`. Raises NotFound."""
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
    for name, value in _columns(job).items():
        setattr(row, name, value)


def _job(row: JobRow) -> Job:
    return Job.model_validate_json(row.content)


def _number(session: Session, rows: type[Any], identity: str, mine: Any) -> int:
    """The place of the row `identity` in its list. Raises NotFound."""
    number = session.scalar(select(rows.number).where(rows.id == identity, mine))
    if number is None:
        raise NotFound(f"Invalid value for 'after': no item of this list has the id {identity!r}.")
    return int(number)
