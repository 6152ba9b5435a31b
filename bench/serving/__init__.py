"""What the server adds to a request, and how fast its engine is beside others."""

from __future__ import annotations

__all__: list[str] = []
