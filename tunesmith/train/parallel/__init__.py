"""Training on several processes: who does which share of a step, how shares become one step, what ends it all."""

from __future__ import annotations

__all__: list[str] = []
