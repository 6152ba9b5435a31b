"""Moderators, one file each; the file's name is the moderator's name."""

from __future__ import annotations

__all__: list[str] = []
