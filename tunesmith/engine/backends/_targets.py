"""The servers behind a remote engine, as the engine sees them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["Target", "Targets"]


class Target(NamedTuple):
    """A server's address (ending in /v1) and the name under which it has the model that is wanted."""

    url: str
    model: str


class Targets(Protocol):
    """The servers behind an engine, and which of them has what. Every method may be called from any thread."""

    def pick(self, adapter: str | None, tried: set[str]) -> Target | None:
        """A server that is up, has the adapter and is not among the addresses `tried`; None when there is none."""

    def lost(self, target: Target, *, reachable: bool) -> None:
        """Take note that `target` did not answer, or (`reachable`) that it no longer has the model."""

    def refresh(self) -> None:
        """Look at every server again and bring it to the state that is wanted; blocks."""

    def load(self, digest: str, path: Path) -> None:
        """Make the adapter in `path` known everywhere; blocks. Raises ModelError where it is refused."""

    def unload(self, digest: str) -> None:
        """Make it unknown again; blocks."""

    def close(self) -> None:
        """Stop whatever was started; blocks."""
