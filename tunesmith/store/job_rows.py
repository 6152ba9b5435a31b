"""The tables of fine-tuning jobs: the jobs, their events, their checkpoints."""

from __future__ import annotations

from sqlalchemy import BigInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.store.database import Tables

__all__ = ["CheckpointRow", "EventRow", "JobRow"]


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
