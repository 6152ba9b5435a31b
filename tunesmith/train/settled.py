"""What a run settles once and keeps over every resume, because another choice would change the order of its sums.

Bit-exact resume needs the same pieces per step, the same use of the frozen trunk and the same number of threads. They
depend on the machine's state when the run began, so they are written down then and never decided again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.errors import TrainingFailed
from tunesmith.store.values import read_value, write_value
from tunesmith.types.base import Value

__all__ = ["Settled", "only_process", "read_settled", "write_settled"]

FILE = "plan.json"


class Settled(Value):
    """Pieces per optimizer step, whether frozen layers are kept, processor threads, the device in words, the memory in
    use before the first step and the peak predicted.
    """

    accumulate: int
    keeps_trunk: bool
    threads: int
    resident_bytes: int
    predicted_peak_bytes: int
    device: str = "cpu"


def read_settled(folder: Path) -> Settled | None:
    """What the run in `folder` settled when it began, or None when it has not begun."""
    return read_value(folder / FILE, Settled)


def write_settled(folder: Path, settled: Settled) -> None:
    """Keep `settled` for every resume."""
    write_value(folder / FILE, settled)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold the run in `folder` for this process. Raises TrainingFailed while another one trains it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingFailed(
                f"The run {folder.name} is being trained by another process.",
                hint="Wait for it (tunesmith runs), or stop it and run this command again: it resumes.",
            ) from None
        yield
