"""Processor threads and what libraries keep, decided before torch is imported, because they read settings only once."""

from __future__ import annotations

import os
import sys

__all__ = ["limit_threads", "usable_cores"]

# oneDNN keeps a compiled kernel, about 0.4 MB, for every shape of a product that it met, 1024 of them by default. Half
# a millisecond makes one anew; a step of a model needs about twelve.
_KERNELS = 128


def usable_cores() -> int:
    """Cores this process may run on (its affinity, which containers and `taskset` narrow)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(threads: int | None) -> int:
    """Set OpenMP's thread count (`threads`, else OMP_NUM_THREADS, else all usable cores) and stop idle threads from
    spinning. oneDNN keeps 128 kernels, if the environment does not say another number.

    Spinning threads take the core from a busy neighbour: two threads beside one were measured 3-8x slower with it.
    Once torch is imported only an explicit `threads` can still be applied.
    """
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        if threads:
            torch.set_num_threads(threads)
        return int(torch.get_num_threads())
    count = threads or int(os.environ.get("OMP_NUM_THREADS") or usable_cores())
    os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KERNELS))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return count
