"""Permissions to use another project's fine-tuned model, in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.store.windows import cursor
from tunesmith.types.permissions import CheckpointPermission

__all__ = ["PermissionQuery", "PermissionRow", "PermissionSlice", "Permissions"]


class PermissionRow(Tables):
    """A permission; `number` counts up."""

    __tablename__ = "checkpoint_permissions"
    __table_args__ = (UniqueConstraint("checkpoint", "grantee", name="one_permission_per_project"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    checkpoint: Mapped[str] = mapped_column(String(400), index=True)
    grantee: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class PermissionQuery(NamedTuple):
    """Which permissions of a checkpoint: at most `limit` after the one with the id `after`, of one grantee or all."""

    limit: int
    after: str | None = None
    grantee: str | None = None
    oldest_first: bool = False


class PermissionSlice(NamedTuple):
    """A part of a list, and whether more follows."""

    items: tuple[CheckpointPermission, ...]
    has_more: bool


class Permissions:
    """The permissions in `database`. Every question names the project that owns the checkpoint."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, wanted: Sequence[CheckpointPermission]) -> tuple[CheckpointPermission, ...]:
        """Store permissions; where a project has one already, that one stays."""
        found = []
        with self._database.transaction() as session:
            for one in wanted:
                same = PermissionRow.checkpoint == one.checkpoint, PermissionRow.grantee == one.grantee
                row = session.scalar(select(PermissionRow).where(*same))
                if row is None:
                    row = PermissionRow(**one.model_dump())
                    session.add(row)
                    session.flush()
                found.append(_value(row))
        return tuple(found)

    def list(self, project: str, checkpoint: str, query: PermissionQuery) -> PermissionSlice:
        """The newest first, unless the oldest are wanted. UnknownCursor for an unknown `after`."""
        mine = PermissionRow.project == project, PermissionRow.checkpoint == checkpoint
        chosen = select(PermissionRow).where(*mine)
        if query.grantee is not None:
            chosen = chosen.where(PermissionRow.grantee == query.grantee)
        number = PermissionRow.number
        with self._database.transaction() as session:
            if query.after is not None:
                with cursor(query.after):
                    place = _row(session, project, checkpoint, query.after).number
                chosen = chosen.where(number > place if query.oldest_first else number < place)
            ordered = chosen.order_by(number if query.oldest_first else number.desc())
            rows = session.scalars(ordered.limit(query.limit + 1)).all()
        return PermissionSlice(tuple(map(_value, rows[: query.limit])), len(rows) > query.limit)

    def delete(self, project: str, checkpoint: str, identity: str) -> None:
        """Take a permission back. Raises NotFound."""
        with self._database.transaction() as session:
            session.delete(_row(session, project, checkpoint, identity))


def _row(session: Session, project: str, checkpoint: str, identity: str) -> PermissionRow:
    mine = PermissionRow.project == project, PermissionRow.checkpoint == checkpoint
    row = session.scalar(select(PermissionRow).where(PermissionRow.id == identity, *mine))
    if row is None:
        raise NotFound(f"There is no permission with the id {identity!r} for this checkpoint.")
    return row


def _value(row: PermissionRow) -> CheckpointPermission:
    return CheckpointPermission.model_validate({name: getattr(row, name) for name in CheckpointPermission.model_fields})
