"""The endpoint responses: router, protocol and handlers."""

from __future__ import annotations

__all__: list[str] = []
