"""The endpoint batches: router, protocol and handler."""

from __future__ import annotations

__all__: list[str] = []
