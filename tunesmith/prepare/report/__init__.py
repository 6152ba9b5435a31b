"""The report of a prepared dataset: what is in it, what was left out and why, whether it can be trusted."""

from __future__ import annotations

__all__: list[str] = []
