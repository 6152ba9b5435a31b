"""TRL's trainers, one file each, set up to do the very work of a workload."""

from __future__ import annotations

__all__: list[str] = []
