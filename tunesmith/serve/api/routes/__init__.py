"""/v1/tunesmith/routes: the model ids that requests may name, and the releases that answer to them."""

from __future__ import annotations

__all__: list[str] = []
