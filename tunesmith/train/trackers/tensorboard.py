"""TensorBoard event files under the run directory: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tunesmith.train.tracker import MetricSink, TrackedRun, Tracker

__all__ = ["Tensorboard"]


class Tensorboard(Tracker):
    """Writes every metric as a scalar; a resumed run hides what was written of the steps it repeats."""

    @contextmanager
    def open(self, run: TrackedRun) -> Iterator[MetricSink]:
        """A sink that writes to the run's folder `tensorboard`."""
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.resume_step + 1) as writer:
            if not run.resume_step:
                table = "\n".join(f"| {name} | {value} |" for name, value in run.parameters.items())
                writer.add_text("parameters", f"| option | value |\n| --- | --- |\n{table}")
            yield _Sink(writer)


class _Sink:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` at `step`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
