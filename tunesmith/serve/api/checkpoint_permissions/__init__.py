"""The endpoint checkpoint_permissions: router, protocol and handler."""

from __future__ import annotations

__all__: list[str] = []
