"""How long-running stages report progress without knowing who watches.

A stage calls `with progress.task("training", total=120, unit="step") as task: task.advance(1, loss=0.3)`. The command
line gives an implementation that draws bars; tests and libraries pass `Silent()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Progress", "Quiet", "Silent", "Task"]


class Task(Protocol):
    """One bar: a known amount of work of which some is done."""

    def advance(self, steps: int = 1, **fields: float | str) -> None:
        """Mark `steps` units done and show `fields` (name -> value) beside the bar."""


class Progress(Protocol):
    """A place where stages announce what they do."""

    def task(self, description: str, total: int, unit: str = "row") -> AbstractContextManager[Task]:
        """Open one bar of `total` units."""

    def say(self, text: str) -> None:
        """Print one line for the person who watches."""


class Quiet:
    """A `Progress` that draws the bars of another one but says nothing, such as what was reused once more."""

    def __init__(self, progress: Progress) -> None:
        self.task = progress.task

    def say(self, text: str) -> None:
        """Say nothing."""


class _SilentTask:
    def advance(self, steps: int = 1, **fields: float | str) -> None:
        """Show nothing."""


class Silent:
    """A `Progress` that shows nothing."""

    @contextmanager
    def task(self, description: str, total: int, unit: str = "row") -> Iterator[Task]:
        """Open a bar that nobody sees."""
        yield _SilentTask()

    def say(self, text: str) -> None:
        """Print nothing."""
