"""With how many processor threads a step is computed: all of them only where that pays.

Every product of matrices wakes the other threads and waits for them. They sleep in between, for one that spins takes
its core from whatever else runs (`tunesmith.threads`), and waking them was measured at about 60 microseconds. A decode
step of a small model consists of hundreds of products that take no longer than that. On two cores, SmolLM2-135M in
bfloat16, a step of one sequence took 22 ms with one thread and 35 with two; of 16 sequences 41 and 48, with a LoRA 47
and 87; of 64 sequences 121 and 109.

The number follows from shapes alone, so that the same step is computed in the same way always.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = ["Region", "region_of"]

_WAKE_MICROSECONDS = 60.0
# Of one core: bytes of weights that it reads, and operations that it does, in a microsecond.
_BYTES = 25e3
_OPERATIONS: Mapping[torch.dtype, float] = {torch.bfloat16: 3e5}
_OPERATIONS_ELSE = 2e5


class Region:
    """A product with a weight of `numel` values of `dtype` on the processor."""

    def __init__(self, numel: float, dtype: torch.dtype) -> None:
        self._read = numel * dtype.itemsize / _BYTES
        self._per_row = 2 * numel / _OPERATIONS.get(dtype, _OPERATIONS_ELSE)

    def pays(self, rows: int, threads: int) -> bool:
        """Whether `threads` threads multiply `rows` rows sooner than one."""
        alone = max(self._read, self._per_row * rows)
        return alone * (1 - 1 / threads) > _WAKE_MICROSECONDS

    @contextmanager
    def threads_for(self, rows: int) -> Iterator[None]:
        """Compute `rows` rows inside the block with one thread where more do not pay; other threads keep theirs."""
        threads, setters = torch.get_num_threads(), _own_setters()
        if setters is None or self.pays(rows, threads):
            yield
            return
        setters.openmp(1)
        setters.mkl(1)
        try:
            yield
        finally:
            setters.openmp(threads)
            setters.mkl(0)  # again what the process has


class _Setters(NamedTuple):
    """Set the number of threads for products of the calling thread alone."""

    openmp: Callable[[int], object]
    mkl: Callable[[int], object]


@cache
def _own_setters() -> _Setters | None:
    """None where torch's library has them not. `torch.set_num_threads` sets the number also for every thread that
    computes its first product meanwhile, which would then keep it.
    """
    libraries = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        if (libraries / name).is_file():
            library = ctypes.CDLL(str(libraries / name))
            openmp = getattr(library, "omp_set_num_threads", None)
            mkl = getattr(library, "MKL_Set_Num_Threads_Local", None)
            if openmp is not None and (mkl is not None or not torch.backends.mkl.is_available()):
                return _Setters(openmp, mkl or (lambda _: None))
    return None


def region_of(model: Any) -> Region | None:
    """A product of average size of `model`; None where it does not compute on the processor."""
    found = [
        weight
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
        if weight.dim() == 2
    ]
    if not found or found[0].device.type != "cpu":
        return None
    return Region(sum(weight.numel() for weight in found) / len(found), found[0].dtype)
