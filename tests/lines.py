"""A progress that keeps what is said, for tests that read it."""

from __future__ import annotations

from tunesmith.progress import Silent


class Lines(Silent):
    """Shows nothing, and keeps every line."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Keep the line."""
        self.said.append(text)
