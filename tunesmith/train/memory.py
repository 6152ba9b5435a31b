"""Peak memory: predicted before training, measured during it.

    predicted = max(highest so far, resident + what comes to stay + activations)

Highest so far covers loading the model, the self-checks and the frozen trunk; resident is what the process holds when
they are done. To stay come the optimizer's moments and the copy of the trained tensors' start. Activations (with the
gradients) are measured rather than guessed: passes over one and a few rows give bytes per token, by which the number
of pieces is chosen, and then the largest piece of the whole plan is computed once for real. On a GPU the same is
measured in its memory instead of the process's.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from tunesmith.room import available_bytes
from tunesmith.types.base import Value

__all__ = [
    "CudaMemory",
    "Footprint",
    "GiveBack",
    "HostMemory",
    "Memory",
    "MemoryPlan",
    "PeakWatch",
    "available_bytes",
    "memory_of",
    "peak_bytes",
    "plan_memory",
    "release_unused",
    "reset_peak",
    "short_collections",
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


class Memory(Protocol):
    """The memory that a run computes in."""

    def available(self) -> int:
        """Bytes this process may use: what is free plus what it already holds."""

    def peak(self) -> int:
        """Peak bytes in use since the last reset or since the process began."""

    def reset(self) -> None:
        """Give back what is not used, and set the peak to the present use."""


class HostMemory(NamedTuple):
    """The processor's memory, of which each of `processes` may use an equal part."""

    processes: int = 1

    def available(self) -> int:
        """See `available_bytes`."""
        return available_bytes(self.processes)

    def peak(self) -> int:
        """See `peak_bytes`."""
        return peak_bytes()

    def reset(self) -> None:
        """See `reset_peak`."""
        reset_peak()


class CudaMemory(NamedTuple):
    """A GPU's memory, as torch's allocator counts it: the tensors, without what CUDA itself takes."""

    device: torch.device

    def available(self) -> int:
        """What the driver has free, and what torch holds, in use or not."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(free) + torch.cuda.memory_reserved(self.device)

    def peak(self) -> int:
        """Highest sum of all tensors."""
        return torch.cuda.max_memory_allocated(self.device)

    def reset(self) -> None:
        """Gives cached blocks back to the driver."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)


def memory_of(device: torch.device, processes: int = 1) -> Memory:
    """The memory of `device`, which is each process's own, or the processor's, which `processes` share; that also for
    an accelerator that does not tell.
    """
    return CudaMemory(device) if device.type == "cuda" else HostMemory(processes)


class PeakWatch:
    """The highest use of `memory` during a run, over all resets of the mark that its measurements need."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or HostMemory()
        self._highest = 0
        self.memory.reset()

    @property
    def highest(self) -> int:
        """Peak bytes since the watch began."""
        return max(self._highest, self.memory.peak())

    def restart(self) -> int:
        """Set the mark to the present use, which is returned."""
        self._highest = self.highest
        self.memory.reset()
        return self.memory.peak()


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
    _trim()


class GiveBack:
    """Called between steps, gives memory that was freed back to the system, for at most a fiftieth of the time.

    Steps of ever other sizes leave gaps in the C library's heap that no later step fills: in bfloat16, 120 steps of a
    few layers grew a process by half a gigabyte, which nothing used.
    """

    def __init__(self, share: float = 0.02, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share, self._clock = share, clock
        self._due = clock()

    def __call__(self) -> None:
        """Give back, when it is time again."""
        began = self._clock()
        if began >= self._due:
            _trim()
            ended = self._clock()
            self._due = ended + (ended - began) / self._share


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def short_collections() -> Iterator[None]:
    """Inside the block collecting garbage looks only at what the block made.

    A run collects several times, each time through all objects of the imported libraries otherwise: half a second.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def peak_bytes() -> int:
    """Peak resident memory since the last reset (Linux) or since the process began."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
