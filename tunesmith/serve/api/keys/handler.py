"""Keys, for administrators: of every project."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tunesmith.serve.api.keys.protocol import KeyCreated, KeyObject, KeyRequest
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.service import Service
from tunesmith.store import keys as store
from tunesmith.types.key import Grant, NewKey

__all__ = ["create_key", "list_keys", "retrieve_key", "revoke_key", "rotate_key"]

Found = TypeVar("Found")


async def create_key(service: Service, request: KeyRequest) -> KeyCreated:
    """A new key."""
    grant = Grant.model_validate(request.model_dump())
    return _created(await _changing(service, lambda session: store.add_key(session, grant, int(time.time()))))


async def list_keys(service: Service, limit: int, after: str | None) -> Page[KeyObject]:
    """The keys, the newest first."""
    found = await _asking(service, store.all_keys)
    shown = [KeyObject(**dict(key)) for key in reversed(found)]
    return page_of(shown, limit, after, lambda key: key.id)


async def retrieve_key(service: Service, identity: str) -> KeyObject:
    """One key. Raises NotFound."""
    return KeyObject(**dict(await _asking(service, lambda session: store.key_by_id(session, identity))))


async def revoke_key(service: Service, identity: str) -> KeyObject:
    """The key opens nothing from now on. Raises NotFound."""
    revoked = await _changing(service, lambda session: store.revoke_key(session, identity, int(time.time())))
    return KeyObject(**dict(revoked))


async def rotate_key(service: Service, identity: str, overlap_seconds: int) -> KeyCreated:
    """A new key in the place of an old one. Raises NotFound."""
    return _created(
        await _changing(service, lambda session: store.rotate_key(session, identity, overlap_seconds, int(time.time())))
    )


async def _asking(service: Service, question: Callable[[store.Session], Found]) -> Found:
    def ask() -> Found:
        with service.platform.database.transaction() as session:
            return question(session)

    return await asyncio.to_thread(ask)


async def _changing(service: Service, change: Callable[[store.Session], Found]) -> Found:
    try:
        return await _asking(service, change)
    finally:
        service.platform.keys.forget()


def _created(made: NewKey) -> KeyCreated:
    return KeyCreated(**dict(made.key), key=made.secret)
