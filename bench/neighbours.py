"""What else the machine did while a round was measured: a ratio from a busy machine should say so."""

from __future__ import annotations

import resource
import time

import psutil

__all__ = ["Neighbours"]


class Neighbours:
    """Watches from its making on; the sides of a round are processes that this one starts and waits for."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """Share of all processor time that went to others: other processes, and the host where it takes time away."""
        room = (time.perf_counter() - self._began) * psutil.cpu_count()
        others = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return min(1.0, max(0.0, others / room))


def _busy_seconds() -> float:
    """Seconds that all processors were not idle since the machine began."""
    times = psutil.cpu_times()
    waiting = getattr(times, "iowait", 0.0)
    # Linux counts guests within user and nice.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - times.idle - waiting - guests)


def _own_seconds() -> float:
    """Seconds of this process and of all that it started and that ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)
