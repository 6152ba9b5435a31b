"""Batches and the answers to their requests.

A batch is worked on by one server at a time, which holds a lease: while it lives it renews the lease, and when it dies
another (or the same, started again) takes the batch when the lease is over. An answer is stored once for each line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, String, Text, delete, func, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.store.webhooks import add_event
from tunesmith.store.windows import cursor
from tunesmith.types.batches import OPEN, Batch, BatchResult, BatchState, Counts, TokenUsage
from tunesmith.types.webhooks import EventType

__all__ = ["BatchPage", "BatchResultRow", "BatchRow", "BatchStore"]

_PAGE = 500
_EVENTS: Mapping[BatchState, EventType] = {
    "completed": "batch.completed",
    "failed": "batch.failed",
    "expired": "batch.expired",
    "cancelled": "batch.cancelled",
}


class BatchRow(Tables):
    """A batch; `content` is its JSON. `worker` has the lease until `leased_until`."""

    __tablename__ = "batches"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(String(32), index=True)
    worker: Mapped[str | None] = mapped_column(String(64))
    leased_until: Mapped[int] = mapped_column(BigInteger, default=0)
    content: Mapped[str] = mapped_column(Text)


class BatchResultRow(Tables):
    """What became of one line of a batch; there are rows only until its files are written."""

    __tablename__ = "batch_results"

    batch: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str]
    failed: Mapped[bool]
    content: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)


class BatchPage(NamedTuple):
    """A part of a list, and whether more follows."""

    batches: tuple[Batch, ...]
    has_more: bool


class BatchStore:
    """Batches of all projects. A foreign batch and an unknown one are the same: NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, batch: Batch) -> None:
        """Take a new batch."""
        with self._database.transaction() as session:
            session.add(
                BatchRow(id=batch.id, project=batch.project, status=batch.status, content=batch.model_dump_json())
            )

    def get(self, project: str, identity: str) -> Batch:
        """The batch of `project` with this id, its counts as they are now. Raises NotFound."""
        with self._database.transaction() as session:
            return _counted(session, self._row(session, project, identity))

    def list(self, project: str, *, limit: int, after: str | None = None) -> BatchPage:
        """At most `limit` batches of `project`, the newest first. Raises UnknownCursor for another `after`."""
        query = select(BatchRow).where(BatchRow.project == project).order_by(BatchRow.number.desc())
        with self._database.transaction() as session:
            if after is not None:
                with cursor(after):
                    place = self._row(session, project, after).number
                query = query.where(BatchRow.number < place)
            rows = session.scalars(query.limit(limit + 1)).all()
            return BatchPage(tuple(_counted(session, row) for row in rows[:limit]), has_more=len(rows) > limit)

    def change(self, project: str, identity: str, changed: Callable[[Batch], Batch]) -> Batch:
        """Let the batch become what `changed` makes of it; nobody else changes it meanwhile. Raises NotFound."""
        with self._database.transaction() as session:
            row = self._row(session, project, identity)
            batch = changed(Batch.model_validate_json(row.content))
            row.status, row.content = batch.status, batch.model_dump_json()
            session.flush()
            return _counted(session, row)

    def claim(self, worker: str, now: int, seconds: int) -> Batch | None:
        """The oldest batch to be worked on that nobody has, now leased by `worker` for so many seconds; None: none."""
        free = or_(BatchRow.worker.is_(None), BatchRow.leased_until <= now)
        query = select(BatchRow).where(BatchRow.status.in_(OPEN), free).order_by(BatchRow.number).limit(1)
        with self._database.transaction() as session:
            row = session.scalar(query.with_for_update(skip_locked=True))
            if row is None:
                return None
            row.worker, row.leased_until = worker, now + seconds
            return Batch.model_validate_json(row.content)

    def renew(self, batch: Batch, worker: str, until: int) -> Batch | None:
        """The batch as it is now, leased until then; None when another worker has it."""
        with self._database.transaction() as session:
            row = self._row(session, batch.project, batch.id)
            if row.worker != worker:
                return None
            row.leased_until = until
            return Batch.model_validate_json(row.content)

    def release(self, batch: Batch, worker: str) -> None:
        """Give the lease back."""
        with self._database.transaction() as session:
            row = self._row(session, batch.project, batch.id)
            if row.worker == worker:
                row.worker, row.leased_until = None, 0

    def answered(self, batch: Batch) -> set[int]:
        """The lines that have an answer."""
        with self._database.transaction() as session:
            return set(session.scalars(select(BatchResultRow.line).where(BatchResultRow.batch == batch.id)))

    def add_result(self, batch: Batch, result: BatchResult) -> None:
        """Store an answer, unless the line has one."""
        with self._database.transaction() as session:
            self._row(session, batch.project, batch.id)  # locked, so that two workers cannot both find none
            if session.get(BatchResultRow, (batch.id, result.line)) is None:
                session.add(BatchResultRow(batch=batch.id, project=batch.project, **result.model_dump()))

    def results(self, batch: Batch, *, failed: bool) -> Iterator[str]:
        """The lines of the output file, or of the error file, in the order of the requests."""
        last = -1
        while True:
            wanted = (BatchResultRow.batch == batch.id, BatchResultRow.failed == failed, BatchResultRow.line > last)
            with self._database.transaction() as session:
                query = select(BatchResultRow).where(*wanted).order_by(BatchResultRow.line).limit(_PAGE)
                rows: Sequence[BatchResultRow] = session.scalars(query).all()
            yield from (row.content for row in rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1].line

    def finish(self, batch: Batch, **changes: Any) -> Batch:
        """Write the last counts into the batch with `changes`, forget its single answers, and tell webhooks its end.

        A batch ends once: what a worker that had lost it says later changes nothing.
        """
        with self._database.transaction() as session:
            row = self._row(session, batch.project, batch.id)
            if row.status not in OPEN:
                return Batch.model_validate_json(row.content)
            counted = _counted(session, row).model_copy(update=changes)
            row.status, row.content, row.worker = counted.status, counted.model_dump_json(), None
            session.execute(delete(BatchResultRow).where(BatchResultRow.batch == batch.id))
            event = _EVENTS.get(counted.status)
            if event is not None:
                add_event(session, batch.project, event, batch.id)
            return counted

    @staticmethod
    def _row(session: Session, project: str, identity: str) -> BatchRow:
        mine = (BatchRow.id == identity, BatchRow.project == project)
        row = session.scalar(select(BatchRow).where(*mine).with_for_update())
        if row is None:
            raise NotFound(f"No such Batch object: {identity}")
        return row


def _counted(session: Session, row: BatchRow) -> Batch:
    """The batch with its counts: those of the stored answers while it is open, those it ended with afterwards."""
    batch = Batch.model_validate_json(row.content)
    if batch.status not in OPEN:
        return batch
    columns = (func.count(), func.sum(BatchResultRow.input_tokens), func.sum(BatchResultRow.output_tokens))
    query = select(BatchResultRow.failed, *columns).where(BatchResultRow.batch == batch.id)
    found = {failed: numbers for failed, *numbers in session.execute(query.group_by(BatchResultRow.failed))}
    completed, failed = found.get(False, (0, 0, 0)), found.get(True, (0, 0, 0))
    return batch.model_copy(
        update={
            "counts": Counts(total=batch.counts.total, completed=completed[0], failed=failed[0]),
            "usage": TokenUsage(
                input_tokens=int(completed[1] + failed[1]), output_tokens=int(completed[2] + failed[2])
            ),
        }
    )
