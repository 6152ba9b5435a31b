"""The contract of a tracker: where metrics go besides `metrics.jsonl`. Plugins lie in `tunesmith.train.trackers`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tunesmith.types.base import Value

__all__ = ["MetricSink", "Tracker"]


class MetricSink(Protocol):
    """Receives metrics while a run goes on."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` (name -> number) at optimizer step `step`."""


class Tracker(Value):
    """A frozen set of options that can open a sink."""

    @abstractmethod
    def open(self, folder: Path, resume_step: int) -> AbstractContextManager[MetricSink]:
        """A sink for the run whose directory is `folder`; steps after `resume_step` (0: all) will come again."""
