"""Every table, declared by the modules imported here; one line for each aggregate."""

from __future__ import annotations

from sqlalchemy import Engine

from tunesmith.store import jobs, releases, tuned
from tunesmith.store.database import Tables

__all__ = ["DECLARED_BY", "create"]

DECLARED_BY = (jobs, releases, tuned)


def create(engine: Engine) -> None:
    """Make the tables that are not there yet."""
    with engine.begin() as connection:
        Tables.metadata.create_all(connection)
