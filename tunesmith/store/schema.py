"""Every table, declared by the modules imported here; one line for each aggregate."""

from __future__ import annotations

from sqlalchemy import Connection

from tunesmith.store import (
    audit,
    batches,
    chats,
    evals,
    files,
    jobs,
    keys,
    permissions,
    releases,
    responses,
    tuned,
    uploads,
    webhooks,
)
from tunesmith.store.database import Tables

__all__ = ["DECLARED_BY", "create"]

DECLARED_BY = (
    audit,
    batches,
    chats,
    evals,
    files,
    jobs,
    keys,
    permissions,
    releases,
    responses,
    tuned,
    uploads,
    webhooks,
)

_ADDED = (responses.BY_TIME,)


def create(connection: Connection) -> None:
    """Make the tables that are not there yet, and the indexes that were added to tables since."""
    Tables.metadata.create_all(connection)
    for index in _ADDED:
        index.create(connection, checkfirst=True)
