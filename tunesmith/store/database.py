"""The database: SQLite in a file, or PostgreSQL by its address. The only place that differs between the two.

A transaction on SQLite takes the write lock when it begins (`BEGIN IMMEDIATE`), so what it read is still true when it
writes, also between processes; others wait up to 30 seconds. On PostgreSQL it is `READ COMMITTED`; a query whose rows
are to be changed locks them with `with_for_update()`, which SQLite needs not and ignores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import DeclarativeBase, Session

__all__ = ["Database", "Tables"]


class Tables(DeclarativeBase):
    """The base of all tables. Each aggregate's module in `tunesmith.store` declares its own beside its queries."""


class Database:
    """The database at `url` (`sqlite:///FILE` or `postgresql://…`), opened and given its tables when first used."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine: Engine | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are all kept, or none when the block raises. What it gave stays readable after it."""
        with Session(self._open(), expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close the connections; the next transaction opens new ones."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        if self._engine is None:
            from tunesmith.store import schema  # declares every table; it imports the modules that import this one

            engine = self._sqlite() if self.is_sqlite else self._postgres()
            schema.create(engine)
            self._engine = engine
        return self._engine

    def _sqlite(self) -> Engine:
        Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self._url, connect_args={"timeout": 30})
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine

    def _postgres(self) -> Engine:
        url = self._url.set(drivername="postgresql+psycopg")
        return create_engine(url, pool_pre_ping=True)


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own: see _on_begin
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
