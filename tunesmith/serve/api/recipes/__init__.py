"""/v1/tunesmith/recipes: look a recipe over before it is run, and what each run's recipe came to."""

from __future__ import annotations

__all__: list[str] = []
