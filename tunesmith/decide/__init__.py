"""Should this be tuned at all? Ways to get the answers, measured on the user's own rows, and what follows from them."""

from __future__ import annotations

__all__: list[str] = []
