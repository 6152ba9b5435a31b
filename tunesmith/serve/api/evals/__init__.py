"""The endpoint evals: router, protocol and handler; data sources, grading and the runner behind them."""

from __future__ import annotations

__all__: list[str] = []
