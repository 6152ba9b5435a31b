"""The stage `grade`: an answer in, a score out. Used by training with rewards, by evaluation and by filters."""

from __future__ import annotations

__all__: list[str] = []
