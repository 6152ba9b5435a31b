"""Responses that were asked to be kept, with their input, so that later ones can go on from them."""

from __future__ import annotations

import json

from sqlalchemy import BigInteger, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Tables
from tunesmith.types.responses import StoredResponse

__all__ = ["ResponseRow", "add_response", "chain_of", "delete_response", "response_by_id"]


class ResponseRow(Tables):
    """A response; `content` and `input` are JSON. Rows are added and deleted, never changed."""

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    previous: Mapped[str | None] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    input: Mapped[str] = mapped_column(Text)


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
    if row is None:
        return None
    return StoredResponse(
        id=row.id,
        project=row.project,
        created_at=row.created_at,
        previous=row.previous,
        content=json.loads(row.content),
        input=tuple(json.loads(row.input)),
    )


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
