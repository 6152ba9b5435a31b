"""The database: SQLite in a file, or PostgreSQL by its address. The only place that differs between the two.

A transaction on SQLite takes the write lock when it begins (`BEGIN IMMEDIATE`), so what it read is still true when it
writes, also between processes; others wait up to 30 seconds. On PostgreSQL it is `READ COMMITTED`; a query whose rows
are to be changed locks them with `with_for_update()`, which SQLite needs not and ignores. No text there has a zero
byte; one that is looked for is not found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from tunesmith.errors import DatabaseError, MissingDependency

__all__ = ["Database", "Tables"]

# Processes that start at once on one PostgreSQL make the tables one after the other: the key of their advisory lock.
_CREATING = 0x7475_6E65


class Tables(DeclarativeBase):
    """The base of all tables. Each aggregate's module in `tunesmith.store` declares its own beside its queries."""


class Database:
    """The database at `url` (`sqlite:///FILE` or `postgresql://…`), opened and given its tables when first used."""

    def __init__(self, url: str) -> None:
        """Nothing is opened yet. Raises DatabaseError when `url` names no such database."""
        self._url = _checked(url)
        self._engine: Engine | None = None
        self._opening = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are all kept, or none when the block raises. What it gave stays readable after it.

        Raises:
            DatabaseError: the database cannot be reached, went away meanwhile, or has no room.
            MissingDependency: it is PostgreSQL and its driver is not installed.
        """
        try:
            with Session(self._open(), expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            place = self._url.render_as_string(hide_password=True)
            raise DatabaseError(
                f"The database {place} cannot be used now: {str(error.orig).strip()}.",
                hint="Start it, or name another with TUNESMITH_DATABASE_URL.",
            ) from error

    def close(self) -> None:
        """Close the connections; the next transaction opens new ones."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                from tunesmith.store import schema  # declares every table; it imports the modules that import this one

                engine = self._sqlite() if self.is_sqlite else self._postgres()
                with engine.begin() as connection:
                    if not self.is_sqlite:
                        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATING})
                    schema.create(connection)
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
        try:
            engine = create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise MissingDependency(
                "A PostgreSQL database needs the package psycopg.", hint="Install it: pip install 'tunesmith[postgres]'"
            ) from error
        event.listen(engine, "before_cursor_execute", _on_execute, retval=True)
        return engine


def _checked(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError:
        found = None
    if found is None or found.get_backend_name() not in ("sqlite", "postgresql"):
        scheme = url.partition("://")[0] if "://" in url else "nothing that is one"
        raise DatabaseError(
            f"The address of the database begins with {scheme}.",
            hint="Set TUNESMITH_DATABASE_URL to postgresql://USER@HOST/NAME, or unset it to use SQLite.",
        )
    return found


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own: see _on_begin
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_execute(
    _connection: Connection, _cursor: object, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    """PostgreSQL refuses even to look for a text with a zero byte. What is looked for in its place, a code point that
    is no character, is in no id or name either. What is written is not touched.
    """
    writes = context is None or context.isinsert or context.isupdate
    if not writes and isinstance(parameters, dict) and any("\0" in str(one) for one in parameters.values()):
        parameters = {name: _findable(one) for name, one in parameters.items()}
    return statement, parameters


def _findable(value: Any) -> Any:
    return value.replace("\0", "\ufffe") if isinstance(value, str) else value
