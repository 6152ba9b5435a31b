"""/v1/tunesmith/decisions: what `tunesmith decide` measured and recommended."""

from __future__ import annotations

__all__: list[str] = []
