"""Graders, one file each; the file's name is the grader's name."""

from __future__ import annotations

__all__: list[str] = []
