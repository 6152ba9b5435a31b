"""The adapters in the engine: loaded on first use, kept while in use, the least recently used given up for new ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tunesmith.engine.engine import Engine
from tunesmith.engine.parity import require_parity
from tunesmith.errors import ModelError
from tunesmith.serve.trail import note_release
from tunesmith.store.values import read_value
from tunesmith.types.parity import PARITY_FILE, ParityCertificate
from tunesmith.types.release import Release

__all__ = ["AdapterShelf"]


class AdapterShelf:
    """Keeps at most `capacity` adapters loaded; more only while all of them are in use.

    The engine may drop an idle adapter by itself (its memory is limited); the next use loads it again.
    """

    def __init__(self, engine: Engine, capacity: int) -> None:
        self._engine = engine
        self._capacity = capacity
        self._lock = asyncio.Lock()
        self._proved: set[str] = set()
        self._places: dict[str, Path] = {}  # adapter digest -> the folder that the engine loaded it from
        self._users: dict[str, int] = {}  # adapter digest -> answers in progress; least recently used first

    @asynccontextmanager
    async def use(self, release: Release | None) -> AsyncIterator[str | None]:
        """The digest to ask the engine with, guaranteed loaded inside the block. None for the base model.

        Raises ModelError when the release's adapter is not what it claims to be, or this engine does not compute with
        it what was trained.
        """
        note_release(release)
        if release is None:
            yield None
            return
        digest = release.adapter_digest
        with ExitStack() as held:
            async with self._lock:
                place = Path(release.adapter_path)
                await self._forget_removed(digest, place)
                if digest not in self._engine.adapters():
                    await self._make_room()
                    await self._engine.load_adapter(digest, place)
                    self._places[digest] = place
                    self._users.setdefault(digest, 0)  # whatever becomes of this request, it can make room again
                if digest not in self._proved:  # also when a client left while it was being proved
                    await self._prove(release)
                held.enter_context(self._engine.hold(digest))
                self._users[digest] = self._users.pop(digest, 0) + 1
            try:
                yield digest
            finally:
                self._users[digest] -= 1

    async def _forget_removed(self, digest: str, place: Path) -> None:
        """Unload an adapter whose folder went with another release of the same adapter, so that it is loaded from
        `place`: an engine whose server restarts could not load it again.

        While it is in use it stays, and is loaded from `place` when it next is idle.
        """
        loaded = self._places.get(digest, place)
        if loaded == place or self._users.get(digest) or await asyncio.to_thread(loaded.is_dir):
            return
        if digest in self._engine.adapters():
            await self._engine.unload_adapter(digest)

    async def _prove(self, release: Release) -> None:
        """Hold the engine against the release's parity certificate before the adapter first answers.

        A release that was registered without one (made elsewhere, or before there were any) has nothing to be held
        against.
        """
        digest = release.adapter_digest
        place = Path(release.adapter_path).parent / PARITY_FILE
        certificate = await asyncio.to_thread(read_value, place, ParityCertificate)
        if certificate is not None:
            try:
                await require_parity(certificate, self._engine)
            except ModelError as error:
                await self._engine.unload_adapter(digest)
                raise ModelError(
                    f"{release.reference} is not served here: {error.message}",
                    hint="Serve the base it was tuned on, with the backend embedded or in its precision "
                    f"({certificate.precision}); {PARITY_FILE} beside its adapter has the numbers.",
                ) from error
        self._proved.add(digest)

    async def _make_room(self) -> None:
        loaded = [digest for digest in self._users if digest in self._engine.adapters()]
        idle = [digest for digest in loaded if not self._users[digest]]
        for digest in idle[: max(0, len(loaded) - self._capacity + 1)]:
            await self._engine.unload_adapter(digest)
        kept = self._engine.adapters()
        self._users = {digest: users for digest, users in self._users.items() if users or digest in kept}
