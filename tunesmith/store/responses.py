"""Responses that were asked to be kept, with their input, so that later ones can go on from them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import BigInteger, Index, String, Text, and_, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.types.responses import StoredResponse

__all__ = [
    "BY_TIME",
    "ResponseRow",
    "add_response",
    "chain_of",
    "delete_response",
    "newest_responses",
    "response_by_id",
]

_PART = 200
"""responses that are read at once"""


class ResponseRow(Tables):
    """A response; `content` and `input` are JSON. Rows are added and deleted, never changed."""

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    previous: Mapped[str | None] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    input: Mapped[str] = mapped_column(Text)


BY_TIME = Index("responses_by_time", ResponseRow.project, ResponseRow.created_at, ResponseRow.id)
"""What `newest_responses` reads along."""


def add_response(session: Session, response: StoredResponse) -> None:
    """Keep a new response."""
    row = ResponseRow(
        id=response.id,
        project=response.project,
        created_at=response.created_at,
        previous=response.previous,
        content=json.dumps(response.content),
        input=json.dumps(response.input),
    )
    session.add(row)
    session.flush()


def response_by_id(session: Session, project: str, identity: str) -> StoredResponse | None:
    """The response of `project` with this id, or None."""
    row = _row(session, project, identity)
    return None if row is None else _stored(row)


def _stored(row: ResponseRow) -> StoredResponse:
    return StoredResponse(
        id=row.id,
        project=row.project,
        created_at=row.created_at,
        previous=row.previous,
        content=json.loads(row.content),
        input=tuple(json.loads(row.input)),
    )


def newest_responses(
    database: Database, project: str, created_after: int | None = None, created_before: int | None = None
) -> Iterator[StoredResponse]:
    """Responses of `project` made between these times (Unix seconds, both included), the newest first.

    They are read in parts, each in a transaction of its own, so that others can write meanwhile.
    """
    query = select(ResponseRow).where(ResponseRow.project == project)
    query = query if created_after is None else query.where(ResponseRow.created_at >= created_after)
    query = query if created_before is None else query.where(ResponseRow.created_at <= created_before)
    query = query.order_by(ResponseRow.created_at.desc(), ResponseRow.id.desc()).limit(_PART)
    part = query
    while True:
        with database.transaction() as session:
            rows = session.scalars(part).all()
        yield from map(_stored, rows)
        if len(rows) < _PART:
            return
        last = rows[-1]
        older = or_(
            ResponseRow.created_at < last.created_at,
            and_(ResponseRow.created_at == last.created_at, ResponseRow.id < last.id),
        )
        part = query.where(older)


def chain_of(session: Session, project: str, identity: str) -> tuple[StoredResponse, ...]:
    """The response and all it goes on from, the first one first.

    Raises NotFound when one of them does not exist, is another project's or was deleted.
    """
    found: list[StoredResponse] = []
    wanted: str | None = identity
    while wanted is not None:
        response = response_by_id(session, project, wanted)
        if response is None:
            raise NotFound(f"Previous response with id '{wanted}' not found.")
        found.append(response)
        wanted = response.previous
    return tuple(reversed(found))


def delete_response(session: Session, project: str, identity: str) -> None:
    """Forget the response; nothing when there is none."""
    row = _row(session, project, identity)
    if row is not None:
        session.delete(row)


def _row(session: Session, project: str, identity: str) -> ResponseRow | None:
    return session.scalar(select(ResponseRow).where(ResponseRow.id == identity, ResponseRow.project == project))
