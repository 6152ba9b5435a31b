"""The audit log in the database: rows are only added, and each is chained to the one before by its digest.

A changed, removed or inserted row breaks the chain; a cut-off end disagrees with the head, which is kept apart. Whoever
can write to the database could write the whole chain anew: note the head's digest elsewhere now and then, and
`verify` tells whether it is still in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import BigInteger, String, Text, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.store.database import Tables
from tunesmith.types.audit import GENESIS, AuditEntry, AuditReport, AuditRow

__all__ = ["AuditHeadRow", "AuditLogRow", "append", "latest", "verify"]

_PAGE = 1_000


class AuditLogRow(Tables):
    """A row; `content` is the entry's JSON."""

    __tablename__ = "audit_log"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project: Mapped[str] = mapped_column(index=True)
    content: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Tables):
    """Where the log ends: one row, which writers lock, so that several servers on one database write one chain."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))


def append(session: Session, entries: Sequence[AuditEntry]) -> None:
    """Write `entries` at the end."""
    head = _locked_head(session)
    rows: list[dict[str, object]] = []
    number, digest = head.number, head.digest
    for entry in entries:
        row = AuditRow.after(number + 1, digest, entry)
        rows.append(_stored(row))
        number, digest = row.number, row.digest
    if rows:
        session.execute(insert(AuditLogRow), rows)
    head.number, head.digest = number, digest
    session.flush()


def latest(session: Session, project: str | None, limit: int, before: int | None = None) -> tuple[AuditRow, ...]:
    """At most `limit` rows before the row `before`, the newest first; of `project`, or of all."""
    query = select(AuditLogRow).order_by(AuditLogRow.number.desc()).limit(limit)
    if project is not None:
        query = query.where(AuditLogRow.project == project)
    if before is not None:
        query = query.where(AuditLogRow.number < before)
    return tuple(_row(stored) for stored in session.scalars(query))


def verify(session: Session, noted: str | None = None) -> AuditReport:
    """Check every row, the end, and that the digest `noted` (the head of an earlier check) is still in the log."""
    before: AuditRow | None = None
    seen = noted in (None, GENESIS)
    for stored in _all(session):
        try:
            row = _row(stored)
        except ValueError:
            return _broken(before, "its content is no entry")
        if not row.fits(before):
            return _broken(before, "it was changed, or rows before it were removed")
        before, seen = row, seen or row.digest == noted
    number, digest = (before.number, before.digest) if before else (0, GENESIS)
    head = session.get(AuditHeadRow, 1)
    if (head.number, head.digest) != (number, digest) if head else number:
        return _broken(before, "it is missing: the log went on to another end")
    if not seen:
        return AuditReport(rows=number, head=digest, broken=0, reason=f"the noted digest {noted} is not in this log")
    return AuditReport(rows=number, head=digest)


def _locked_head(session: Session) -> AuditHeadRow:
    head = session.get(AuditHeadRow, 1, with_for_update=True)
    if head is None:
        try:
            with session.begin_nested():
                session.add(AuditHeadRow(id=1, number=0, digest=GENESIS))
        except IntegrityError:  # another server made it just now
            session.expire_all()
        head = session.get_one(AuditHeadRow, 1, with_for_update=True)
    return head


def _all(session: Session) -> Iterator[AuditLogRow]:
    after = 0
    while page := session.scalars(
        select(AuditLogRow).where(AuditLogRow.number > after).order_by(AuditLogRow.number).limit(_PAGE)
    ).all():
        yield from page
        after = page[-1].number
        session.expunge_all()


def _stored(row: AuditRow) -> dict[str, object]:
    return {
        "number": row.number,
        "project": row.entry.project,
        "content": row.entry.model_dump_json(),
        "previous": row.previous,
        "digest": row.digest,
    }


def _row(stored: AuditLogRow) -> AuditRow:
    entry = AuditEntry.model_validate_json(stored.content)
    if entry.project != stored.project:
        raise ValueError("the project beside the entry is another")
    return AuditRow(number=stored.number, entry=entry, previous=stored.previous, digest=stored.digest)


def _broken(before: AuditRow | None, reason: str) -> AuditReport:
    number, digest = (before.number, before.digest) if before else (0, GENESIS)
    return AuditReport(rows=number, head=digest, broken=number + 1, reason=reason)
