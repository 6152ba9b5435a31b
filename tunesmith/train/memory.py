"""Peak memory: predicted before training, measured during it.

Prediction: resident memory with weights loaded + optimizer state (gradient and two moments, 12 bytes per trainable
parameter) + activations. Activations are measured rather than guessed: one forward and backward at two sizes gives the
bytes per computed token of the real step.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path
from typing import Any

import psutil

from tunesmith.types.base import Value

__all__ = ["MemoryPlan", "available_bytes", "peak_bytes", "plan_memory", "reset_peak"]

OPTIMIZER_BYTES_PER_PARAMETER = 12
SAFETY = 0.9


class MemoryPlan(Value):
    """`accumulate` pieces per step make the predicted peak fit into what the machine has."""

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


def plan_memory(
    resident: int, trainable: int, bytes_per_token: float, largest_by_pieces: dict[int, int], available: int
) -> MemoryPlan:
    """The smallest number of pieces whose prediction fits (else the largest number tried).

    Args:
        resident: bytes in use with the model loaded.
        trainable: number of trainable parameters.
        bytes_per_token: activation bytes per computed token, from the probe.
        largest_by_pieces: number of pieces per step -> tokens of the largest piece of any step.
        available: bytes this process may use.
    """
    plan = None
    for pieces, tokens in sorted(largest_by_pieces.items()):
        predicted = resident + OPTIMIZER_BYTES_PER_PARAMETER * trainable + bytes_per_token * tokens
        plan = MemoryPlan(
            predicted_peak_bytes=int(predicted),
            available_bytes=available,
            bytes_per_token=bytes_per_token,
            largest_piece_tokens=tokens,
            accumulate=pieces,
        )
        if plan.fits:
            break
    if plan is None:
        raise ValueError("largest_by_pieces is empty")
    return plan


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
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


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
