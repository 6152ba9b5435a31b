"""Wall and processor time of training steps, taken the same way on both sides."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Clock", "Reading", "peak_bytes"]


class Reading(NamedTuple):
    """Seconds on the wall, and seconds that processors worked for this process (user mode, all threads)."""

    seconds: float
    processor_seconds: float

    @classmethod
    def now(cls) -> Reading:
        """The time now, from an arbitrary beginning."""
        return cls(time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime)

    def since(self, before: Reading) -> Reading:
        """What passed between `before` and this reading."""
        return Reading(self.seconds - before.seconds, self.processor_seconds - before.processor_seconds)


class Clock:
    """Remembers when each step ended, leaving out what happens inside `outside`."""

    def __init__(self) -> None:
        self._ends: list[Reading] = []
        self._outside = Reading(0.0, 0.0)

    def step_done(self) -> None:
        """A training step ends now."""
        self._ends.append(Reading.now().since(self._outside))

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Time spent inside belongs to no step."""
        began = Reading.now()
        try:
            yield
        finally:
            spent = Reading.now().since(began)
            self._outside = Reading(*(sum(pair) for pair in zip(self._outside, spent, strict=True)))

    def after(self, warm_up: int) -> Reading:
        """What all steps after the first `warm_up` took; at least one step must warm up, one must be timed."""
        if not 0 < warm_up < len(self._ends):
            raise ValueError(f"{len(self._ends)} steps cannot be timed after {warm_up} to warm up")
        return self._ends[-1].since(self._ends[warm_up - 1])


def peak_bytes() -> int:
    """Highest resident memory of this process since it began, or since the kernel's mark was reset."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
