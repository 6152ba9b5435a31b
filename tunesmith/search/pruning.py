"""Stopping a trial that falls behind: the validation loss of each finished epoch, read from the run's own record.

The loss, not the gate's metric: it is there for nothing at the end of every epoch, where generating answers to all
validation rows would take about as long as the epoch. What is optimised in the end is the metric.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.progress import Progress, Task

__all__ = ["Pruned", "Watching", "losses_of"]

Judge = Callable[[int, float], bool]
"""(epoch counted from 1, its validation loss) -> whether to stop"""


class Pruned(Exception):
    """The trial is stopped; raised between two optimizer steps."""


def losses_of(metrics: Path) -> dict[int, float]:
    """Validation losses by epoch, from the lines of a run's `metrics.jsonl` (step 0 is before the first epoch)."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    found: dict[int, float] = {}
    for line in lines:
        if '"validation_loss"' not in line:
            continue
        values = json.loads(line)
        found[int(values["step"])] = float(values["validation_loss"])
    return {epoch: found[step] for epoch, step in enumerate((step for step in sorted(found) if step), start=1)}


class Watching:
    """A `Progress` that looks after each step of training whether an epoch has ended; `judge` then decides."""

    def __init__(self, progress: Progress, metrics: Path, judge: Judge) -> None:
        self._progress, self._metrics, self._judge = progress, metrics, judge
        self._size, self._seen = -1, 0
        self.say = progress.say

    @contextmanager
    def task(self, description: str, total: int, unit: str = "row") -> Iterator[Task]:
        """The bar of the other progress, watched."""
        with self._progress.task(description, total, unit) as task:
            yield _Watched(task, self._look)

    def _look(self) -> None:
        """Raises Pruned when the epoch that has just ended was bad."""
        size = self._metrics.stat().st_size if self._metrics.is_file() else 0
        if size == self._size:
            return
        self._size = size
        losses = losses_of(self._metrics)
        for epoch in range(self._seen + 1, len(losses) + 1):
            self._seen = epoch
            if self._judge(epoch, losses[epoch]):
                raise Pruned(f"epoch {epoch}")


class _Watched:
    def __init__(self, task: Task, look: Callable[[], None]) -> None:
        self._task, self._look = task, look

    def advance(self, steps: int = 1, **fields: float | str) -> None:
        """Move the bar, then look."""
        self._task.advance(steps, **fields)
        self._look()
