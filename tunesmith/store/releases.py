"""Releases and aliases in the database: the queries, and nothing about folders or references."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, ForeignKeyConstraint, String, UniqueConstraint, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.store.database import Tables
from tunesmith.types.release import AliasMove, Release

__all__ = [
    "AliasMoveRow",
    "ReleaseRow",
    "add_move",
    "add_release",
    "all_releases",
    "lock_name",
    "moves_of",
    "release_by_id",
    "releases_named",
    "releases_without",
]


class ReleaseRow(Tables):
    """A release; `content` is its JSON without version and place. Rows are never changed."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("name", "version", name="one_release_per_version"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    version: Mapped[int]
    content: Mapped[str]


class AliasMoveRow(Tables):
    """One move of an alias, in order of `id`. Rows are only added; the present place follows from the history."""

    __tablename__ = "alias_moves"
    __table_args__ = (ForeignKeyConstraint(["name", "version"], ["releases.name", "releases.version"]),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(index=True)
    alias: Mapped[str]
    version: Mapped[int]
    kind: Mapped[str]
    moved: Mapped[str]


def add_release(session: Session, release: Release) -> tuple[Release, bool]:
    """Store `release` under the next version of its name; False and the stored one when it is there already."""
    while True:
        known = release_by_id(session, release.identity())
        if known is not None:
            return known, False
        try:
            with session.begin_nested():
                return _insert(session, release), True
        except IntegrityError:
            continue  # another process took this version first, so the next one is free, or had the same release


def _insert(session: Session, release: Release) -> Release:
    newest = session.scalar(select(func.max(ReleaseRow.version)).where(ReleaseRow.name == release.name)) or 0
    row = ReleaseRow(
        id=release.identity(),
        name=release.name,
        version=newest + 1,
        content=release.model_dump_json(exclude={"version", "adapter_path"}),
    )
    session.add(row)
    session.flush()
    return _release(row)


def lock_name(session: Session, name: str) -> None:
    """Let nobody else move an alias of `name` before this transaction ends."""
    session.scalars(
        select(ReleaseRow.id).where(ReleaseRow.name == name).order_by(ReleaseRow.id).with_for_update()
    ).all()


def release_by_id(session: Session, identity: str) -> Release | None:
    """The release with this id, or None."""
    row = session.get(ReleaseRow, identity)
    return _release(row) if row is not None else None


def all_releases(session: Session) -> tuple[Release, ...]:
    """Every release, by name and version."""
    rows = session.scalars(select(ReleaseRow).order_by(ReleaseRow.name, ReleaseRow.version))
    return tuple(_release(row) for row in rows)


def releases_without(session: Session, wanted: ColumnElement[bool], prefix: str) -> tuple[Release, ...]:
    """The releases whose name begins with `prefix`, but for those for which `wanted` holds, by name and version."""
    named = ReleaseRow.name.startswith(prefix, autoescape=True)
    rows = session.scalars(select(ReleaseRow).where(named, ~wanted).order_by(ReleaseRow.name, ReleaseRow.version))
    return tuple(map(_release, rows))


def releases_named(session: Session, name: str) -> tuple[Release, ...]:
    """The releases of one name, by version."""
    rows = session.scalars(select(ReleaseRow).where(ReleaseRow.name == name).order_by(ReleaseRow.version))
    return tuple(_release(row) for row in rows)


def add_move(session: Session, move: AliasMove) -> None:
    """Append to an alias's history. The database refuses a version that does not exist."""
    session.add(AliasMoveRow(**move.model_dump()))
    session.flush()


def moves_of(session: Session, name: str) -> Sequence[AliasMove]:
    """The history of all aliases of `name`, oldest first."""
    rows = session.scalars(select(AliasMoveRow).where(AliasMoveRow.name == name).order_by(AliasMoveRow.id))
    return [
        AliasMove.model_validate(
            {"name": row.name, "alias": row.alias, "version": row.version, "kind": row.kind, "moved": row.moved}
        )
        for row in rows
    ]


def _release(row: ReleaseRow) -> Release:
    return Release.model_validate_json(row.content).model_copy(update={"version": row.version})
