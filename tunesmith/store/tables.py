"""The tables of home/registry.db and the transactions on them.

A transaction takes SQLite's write lock when it begins (`BEGIN IMMEDIATE`), so what it read is still true when it
writes, also between processes; others wait up to 30 seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    ForeignKeyConstraint,
    String,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

__all__ = ["AliasMoveRow", "Database", "ReleaseRow", "Tables"]


class Tables(DeclarativeBase):
    """The base of all tables."""


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


class Database:
    """The SQLite database at `path`, made with its folder and tables when first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: Engine | None = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are all kept, or none when the block raises."""
        with Session(self._open()) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close the connections; the next transaction opens new ones."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        if self._engine is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(f"sqlite:///{self._path}", connect_args={"timeout": 30})
            event.listen(self._engine, "connect", _on_connect)
            event.listen(self._engine, "begin", _on_begin)
            with self._engine.begin() as connection:
                Tables.metadata.create_all(connection)
        return self._engine


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own: see _on_begin
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
