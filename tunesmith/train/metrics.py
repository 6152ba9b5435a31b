"""The run's own record of its metrics: one JSON object a line, and whoever else wants to know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.train.tracker import METRICS_FILE, MetricSink

__all__ = ["METRICS_FILE", "MetricsLog", "Unlogged"]


class MetricsLog:
    """Appends to `metrics.jsonl` and passes everything on to the trackers' sinks.

    Lines after `resume_step` come from steps that will be repeated and are removed on opening.
    """

    def __init__(self, folder: Path, sinks: Sequence[MetricSink], resume_step: int) -> None:
        self._file = folder / METRICS_FILE
        self._sinks = tuple(sinks)
        lines = self._file.read_text().splitlines() if self._file.is_file() else []
        kept = [line for line in lines if resume_step and _is_done(line, resume_step)]
        draft = self._file.with_suffix(".partial")
        draft.write_text("".join(f"{line}\n" for line in kept))
        draft.replace(self._file)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` at optimizer step `step` (the number of steps done)."""
        with self._file.open("a") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        for sink in self._sinks:
            sink.log(step, values)


class Unlogged:
    """Drops everything: for processes whose numbers another one records."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record nothing."""


def _is_done(line: str, resume_step: int) -> bool:
    """A line cut off by a kill is dropped with the steps that come again."""
    try:
        return int(json.loads(line)["step"]) <= resume_step
    except json.JSONDecodeError:
        return False
