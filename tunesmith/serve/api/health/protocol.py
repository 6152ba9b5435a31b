"""What GET /health answers."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["Health"]


class Health(Value):
    """The server can answer; `adapters` are the digests in the engine now, `adapter_bytes` the memory each takes beside
    the base, `context_length` is in tokens.
    """

    status: Literal["ok"] = "ok"
    version: str
    context_length: int
    adapters: tuple[str, ...]
    adapter_bytes: dict[str, int]
