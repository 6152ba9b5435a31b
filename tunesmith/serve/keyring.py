"""The keys that open this server, at hand without a question to the database for each request."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping

from tunesmith.store.database import Database
from tunesmith.store.keys import add_key, any_key, digest_of, keys_by_digest
from tunesmith.types.key import Grant, Key

__all__ = ["ENVIRONMENT_KEY", "FRESH_SECONDS", "KeyRing"]

ENVIRONMENT_KEY = "key_environment"
"""The id of the key in `TUNESMITH_ADMIN_KEY`, which is nowhere stored."""

FRESH_SECONDS = 1.0
"""How long another process's change of a key (a revocation, say) may go unnoticed."""

_SPACING_SECONDS = 0.1


class KeyRing:
    """All keys that were not revoked, read again when they are older than a second or when a key is not among them.

    A key is looked up by its SHA-256: what a wrong key's hash has in common with a stored one, and so the time to find
    that out, says nothing about the key. Wrong keys cost no more than ten readings a second, however many come.
    """

    def __init__(self, database: Database, admin_key: str | None = None) -> None:
        self._database = database
        self._admin = digest_of(admin_key) if admin_key is not None else None
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._changed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, secret: str) -> Key | None:
        """The key that this is; None when it opens nothing (any more)."""
        digest, asked = digest_of(secret), time.monotonic()
        if self._admin is not None and hmac.compare_digest(digest, self._admin):
            return Key(id=ENVIRONMENT_KEY, name="environment", role="admin", hint=secret[-4:], created_at=0)
        found = self._keys.get(digest) if asked - self._read_at < FRESH_SECONDS else None
        if found is None:
            await self._read_after(asked)
            found = self._keys.get(digest)
        return found if found is not None and found.usable(int(time.time())) else None

    async def known(self, identity: str) -> Key | None:
        """The key with this id, as it is stored now; None when it was revoked or is the environment's."""
        asked = time.monotonic()
        if asked - self._read_at >= FRESH_SECONDS:
            await self._read_after(asked)
        return next((key for key in self._keys.values() if key.id == identity), None)

    async def goes_on(self, identity: str | None) -> bool:
        """Whether what was begun with the key with this id may go on: there is a key that it goes on with. The server's
        own key (None) and the environment's have no end.
        """
        return identity is None or identity == ENVIRONMENT_KEY or await self.going_on(identity) is not None

    async def going_on(self, identity: str) -> Key | None:
        """The key that what was begun with the key with this id goes on with, and is charged to: that key as long as it
        opens something, and when it has run out the one that it was rotated to. None when there is none: a revoked key
        ends what it began, also when it was rotated before, for whoever had it may have begun that.
        """
        key, now = await self.known(identity), int(time.time())
        while key is not None and not key.usable(now) and key.replaced_by is not None:
            key = await self.known(key.replaced_by)
        return key if key is not None and key.usable(now) else None

    def forget(self) -> None:
        """A key was changed here: read them again for the next request, also when a reading is under way, which may
        have begun before the change.
        """
        self._changed_at = time.monotonic()
        self._read_at = float("-inf")

    def first_key(self) -> str | None:
        """Make the first key of all, an administrator's; None where there has been one or the environment gives one."""
        if self._admin is not None:
            return None
        with self._database.transaction() as session:
            if any_key(session):
                return None
            made = add_key(session, Grant(name="first", role="admin"), int(time.time()))
        self.forget()
        return made.secret

    async def _read_after(self, asked: float) -> None:
        """Have a reading that began after `asked`; all who wait share it."""
        async with self._lock:
            if self._read_at >= asked:
                return
            await asyncio.sleep(self._read_at + _SPACING_SECONDS - time.monotonic())
            began = time.monotonic()
            self._keys = await asyncio.to_thread(self._read)
            self._read_at = began if began > self._changed_at else float("-inf")

    def _read(self) -> dict[str, Key]:
        with self._database.transaction() as session:
            return keys_by_digest(session)
