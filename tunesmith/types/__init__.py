"""Frozen values that travel between stages. Import them from their modules, for example `tunesmith.types.recipe`."""

from __future__ import annotations

__all__: list[str] = []
