"""The endpoint fine_tuning/jobs: router, protocol and handler."""

from __future__ import annotations

__all__: list[str] = []
