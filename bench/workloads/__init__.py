"""What is measured against TRL: one file each, one line of the table each."""

from __future__ import annotations

__all__: list[str] = []
