"""The endpoint webhooks: router, protocol and handler; signing and sending behind them."""

from __future__ import annotations

__all__: list[str] = []
