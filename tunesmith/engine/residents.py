"""Which adapters are in memory, what each weighs, who uses it, and which one to give up for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tunesmith.errors import EngineError, ModelError

__all__ = ["Resident", "Residents"]


class Resident(NamedTuple):
    """Memory of a loaded adapter, and the virtual tokens it puts in front of every prompt."""

    nbytes: int
    virtual: int


class Residents:
    """The loaded adapters by digest, the least recently used first. `limit` is in bytes; None: none."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._loaded: dict[str, Resident] = {}
        self._users: dict[str, int] = {}

    @property
    def virtual(self) -> dict[str, int]:
        """Digest -> virtual tokens."""
        return {digest: resident.virtual for digest, resident in self._loaded.items()}

    @property
    def nbytes(self) -> dict[str, int]:
        """Digest -> bytes, sorted by digest."""
        return {digest: self._loaded[digest].nbytes for digest in sorted(self._loaded)}

    def __contains__(self, digest: str) -> bool:
        return digest in self._loaded

    def add(self, digest: str, resident: Resident) -> None:
        """Remember an adapter as the one used last."""
        self._loaded[digest] = resident

    def remove(self, digest: str) -> None:
        """Forget an adapter; who uses it still counts."""
        del self._loaded[digest]

    @contextmanager
    def use(self, digest: str | None) -> Iterator[None]:
        """Count a use of `digest` inside the block. Raises EngineError when it is not loaded; None needs nothing."""
        if digest is None:
            yield
            return
        if digest not in self._loaded:
            raise EngineError(f"The adapter {digest!r} is not loaded.")
        self._loaded[digest] = self._loaded.pop(digest)
        self._users[digest] = self._users.get(digest, 0) + 1
        try:
            yield
        finally:
            self._users[digest] -= 1
            if not self._users[digest]:
                del self._users[digest]

    def in_use(self, digest: str) -> bool:
        """Whether somebody uses it, loaded or just removed."""
        return digest in self._users

    def require_room(self, digest: str, nbytes: int) -> None:
        """Raise ModelError for an adapter that alone is larger than the limit."""
        if self._limit is not None and nbytes > self._limit:
            raise ModelError(
                f"The adapter {digest[:12]} takes {nbytes} bytes; the limit for all adapters is {self._limit}.",
                hint="Raise adapter_bytes of the embedded backend.",
            )

    def surplus(self, coming: int = 0, keep: str | None = None) -> str | None:
        """The adapter to drop next so that `coming` bytes fit; None when they do, or when all others are in use."""
        total = sum(resident.nbytes for resident in self._loaded.values()) + coming
        if self._limit is None or total <= self._limit:
            return None
        idle = (digest for digest in self._loaded if digest not in self._users and digest != keep)
        return next(idle, None)
