"""How much memory this process may use: the machine's, its container's, its own limit."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

__all__ = ["available_bytes", "free_bytes"]


def available_bytes(processes: int = 1) -> int:
    """Memory this process may use: what is free plus what it already holds, within the limits of the control group and
    of the process (RLIMIT_DATA) if there are any. Of `processes` that share the machine each may use an equal part.
    """
    own = psutil.Process().memory_info().rss
    free = psutil.virtual_memory().available // processes + own
    shared, alone = _cgroup_limit(), resource.getrlimit(resource.RLIMIT_DATA)[0]
    limits = [shared // processes] if shared else []
    return int(min([free, *limits, *([alone] if alone != resource.RLIM_INFINITY else [])]))


def free_bytes() -> int:
    """Memory this process may still take beside what it holds."""
    return max(0, available_bytes() - int(psutil.Process().memory_info().rss))


def _cgroup_limit() -> int | None:
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        file = Path(name)
        if file.is_file():
            text = file.read_text().strip()
            if text.isdigit() and int(text) < 1 << 60:
                return int(text)
    return None
