"""Checks on the form of a text, as IFEval asks them: small pure functions, named in one table."""

from __future__ import annotations

__all__: list[str] = []
