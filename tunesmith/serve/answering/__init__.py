"""What chat completions, completions and responses share: from what is asked to the events of an answer."""

from __future__ import annotations

__all__: list[str] = []
