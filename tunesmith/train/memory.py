"""Peak memory: predicted before training, measured during it.

    predicted = max(highest so far, resident + what comes to stay + activations)

Highest so far covers loading the model, the self-checks and the frozen trunk; resident is what the process holds when
they are done. To stay come the optimizer's moments and the copy of the trained tensors' start. Activations (with the
gradients) are measured rather than guessed: passes over one and a few rows give bytes per token, by which the number
of pieces is chosen, and then the largest piece of the whole plan is computed once for real.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tunesmith.types.base import Value

__all__ = [
    "Footprint",
    "MemoryPlan",
    "PeakWatch",
    "available_bytes",
    "peak_bytes",
    "plan_memory",
    "release_unused",
    "reset_peak",
]

SAFETY = 0.9


class MemoryPlan(Value):
    """`accumulate` pieces per step make the predicted peak fit into what the machine has; `resident_bytes` are in use
    before the first step.
    """

    resident_bytes: int
    predicted_peak_bytes: int
    available_bytes: int
    bytes_per_token: float
    largest_piece_tokens: int
    accumulate: int

    @property
    def fits(self) -> bool:
        """Whether the predicted peak leaves a tenth of the available memory free."""
        return self.predicted_peak_bytes <= SAFETY * self.available_bytes

    def __str__(self) -> str:
        gigabyte = 1 << 30
        return (
            f"memory: about {self.predicted_peak_bytes / gigabyte:.1f} GB predicted, "
            f"{self.available_bytes / gigabyte:.1f} GB to be had; "
            f"at most {self.largest_piece_tokens} tokens a piece, {self.accumulate} piece(s) a step"
        )


class Footprint(NamedTuple):
    """Bytes that do not depend on the size of a piece: the highest use so far, the present use, what comes to stay."""

    highest: int
    resident: int
    to_stay: int

    def peak(self, activations: float) -> int:
        """Predicted peak of a step whose pieces take `activations` bytes at most."""
        return max(self.highest, int(self.resident + self.to_stay + activations))


def plan_memory(
    footprint: Footprint,
    bytes_per_token: float,
    largest_by_pieces: Mapping[int, int],
    available: int,
    measure: Callable[[int], int],
) -> MemoryPlan:
    """The smallest number of pieces whose prediction fits (else the largest number tried).

    Args:
        footprint: what does not depend on the pieces.
        bytes_per_token: activation bytes per computed token, from the probe.
        largest_by_pieces: number of pieces per step -> tokens of the largest piece of any step.
        available: bytes this process may use.
        measure: number of pieces -> activation bytes of that largest piece, computed for real; asked only of pieces
            that fit by `bytes_per_token`.
    """
    plan = None
    for pieces, tokens in sorted(largest_by_pieces.items()):
        plan = MemoryPlan(
            resident_bytes=footprint.resident,
            predicted_peak_bytes=footprint.peak(bytes_per_token * tokens),
            available_bytes=available,
            bytes_per_token=bytes_per_token,
            largest_piece_tokens=tokens,
            accumulate=pieces,
        )
        if plan.fits:
            plan = plan.model_copy(update={"predicted_peak_bytes": footprint.peak(measure(pieces))})
        if plan.fits:
            break
    if plan is None:
        raise ValueError("largest_by_pieces is empty")
    return plan


class PeakWatch:
    """The highest memory use of a run, over all resets of the kernel's mark that its measurements need."""

    def __init__(self) -> None:
        self._highest = 0
        reset_peak()

    @property
    def highest(self) -> int:
        """Peak bytes since the watch began."""
        return max(self._highest, peak_bytes())

    def restart(self) -> int:
        """Set the mark to the present use, which is returned."""
        self._highest = self.highest
        reset_peak()
        return peak_bytes()


def available_bytes() -> int:
    """Memory this process may use: what is free plus what it already holds, within the control group's limit if
    there is one.
    """
    own = psutil.Process().memory_info().rss
    limit = _cgroup_limit()
    free = psutil.virtual_memory().available + own
    return int(min(free, limit)) if limit else int(free)


def reset_peak() -> bool:
    """Set the kernel's peak-memory mark of this process to its present size; False where that is not possible.

    Memory that was freed but is still held by the C library is given back first: it would hide the next peak.
    """
    release_unused()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def release_unused() -> None:
    """Give memory that was freed but is still held by the C library back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_bytes() -> int:
    """Peak resident memory since the last reset (Linux) or since the process began."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _cgroup_limit() -> int | None:
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        file = Path(name)
        if file.is_file():
            text = file.read_text().strip()
            if text.isdigit() and int(text) < 1 << 60:
                return int(text)
    return None
