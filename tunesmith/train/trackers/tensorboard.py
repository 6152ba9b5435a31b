"""TensorBoard event files under the run directory: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.train.tracker import MetricSink, Tracker

__all__ = ["Tensorboard"]


class Tensorboard(Tracker):
    """Writes every metric as a scalar; a resumed run hides what was written of the steps it repeats."""

    @contextmanager
    def open(self, folder: Path, resume_step: int) -> Iterator[MetricSink]:
        """A sink that writes to `folder`/tensorboard."""
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1) as writer:
            yield _Sink(writer)


class _Sink:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` at `step`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
