"""Measurements that need the real base model: run by hand, never part of the product or of its tests' verdict."""

from __future__ import annotations

__all__: list[str] = []
