"""Where output goes: results to stdout, everything about the way there (bars, notes) to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from tunesmith.progress import Task

__all__ = ["RichProgress", "show_json", "stdout"]


def stdout() -> Console:
    """A console on standard output; 100 columns wide where there is no terminal to ask."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def show_json(result: object) -> None:
    """Print a value (pydantic, plain, or plain with pydantic inside) as JSON."""
    from pydantic_core import to_jsonable_python

    typer.echo(json.dumps(to_jsonable_python(result), ensure_ascii=False, indent=2))


class RichProgress:
    """Progress bars on stderr. Where stderr is no terminal, one line per task instead."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            Remaining(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=self._console,
        )
        self._open = 0
        self._said: set[str] = set()

    @contextmanager
    def task(self, description: str, total: int, unit: str = "row") -> Iterator[Task]:
        """Draw one bar; it stays on the screen when the work is done. `total` 0: how much there is, is not known."""
        unit = unit if total == 1 else f"{unit}s"
        if not self._console.is_terminal:
            self._console.print(f"{description} ({total:,} {unit})" if total else description, markup=False)
        elif self._open == 0:
            self._bars.start()
        self._open += 1
        identity = self._bars.add_task(description, total=total or None, unit=unit, note="")
        try:
            yield _Bar(self, identity)
        finally:
            self._open -= 1
            if self._open == 0 and self._console.is_terminal:
                self._bars.stop()

    def say(self, text: str) -> None:
        """Print one line above the bars; the same line only once, however many stages say it."""
        if text not in self._said:
            self._said.add(text)
            self._console.print(text, markup=False, soft_wrap=True)

    def advance(self, identity: TaskID, steps: int, fields: dict[str, Any]) -> None:
        """Move one bar and show `fields` beside it, numbers with four digits."""
        if fields:
            shown = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in fields.values())
            self._bars.update(
                identity, note="  ".join(f"{name} {text}" for name, text in zip(fields, shown, strict=True))
            )
        self._bars.advance(identity, steps)


class _Bar:
    def __init__(self, progress: RichProgress, identity: TaskID) -> None:
        self._progress = progress
        self._identity = identity

    def advance(self, steps: int = 1, **fields: float | str) -> None:
        """Move the bar."""
        self._progress.advance(self._identity, steps, fields)
