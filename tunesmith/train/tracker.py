"""The contract of a tracker: where metrics go besides `metrics.jsonl`. Plugins lie in `tunesmith.train.trackers`.

A run that was killed comes back at its last checkpoint and goes through some steps again. What a tracker shows must
then hold every step once: `done_before` gives it the steps before the checkpoint, in case they never arrived, and the
steps after it come again with the same numbers (resume is bit-exact), in case they did.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from tunesmith.types.base import Value

__all__ = ["METRICS_FILE", "MetricSink", "Parameter", "TrackedRun", "Tracker", "Unseen", "done_before"]

METRICS_FILE = "metrics.jsonl"

Parameter = str | int | float | bool | None


class MetricSink(Protocol):
    """Receives metrics while a run goes on."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` (name -> number) at optimizer step `step`."""


class TrackedRun(NamedTuple):
    """A run that is about to train: its directory (whose name is its id), the step it resumes after (0: it begins),
    and its options by dotted name.
    """

    folder: Path
    resume_step: int
    parameters: Mapping[str, Parameter]


class Tracker(Value):
    """A frozen set of options that can open a sink."""

    @abstractmethod
    def open(self, run: TrackedRun) -> AbstractContextManager[MetricSink]:
        """A sink for `run`; steps after `resume_step` will come (again).

        Leaving the context closes it; an exception that passes through marks the run as failed, Interrupted as stopped.
        """


class Unseen:
    """Passes on what a service does not hold yet, by the last step it has of each metric."""

    def __init__(self, last_steps: Mapping[str, int]) -> None:
        self._last = dict(last_steps)

    def of(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Those of `values` that are new at `step`; they count as seen from now on."""
        fresh = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        self._last |= dict.fromkeys(fresh, step)
        return fresh


def done_before(run: TrackedRun) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of every line in the run's own record up to `resume_step`."""
    file = run.folder / METRICS_FILE
    if not run.resume_step or not file.is_file():
        return
    for line in file.read_text().splitlines():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:  # cut off by a kill; its step comes again
            continue
        step = int(values.pop("step"))
        if step <= run.resume_step:
            yield step, values
