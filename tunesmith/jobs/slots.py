"""The slots of workers: files in home/workers, each locked by the worker whose name it bears as long as it lives."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

from tunesmith.jobs.processes import taken

__all__ = ["Slot", "free_slot", "group", "is_free", "take_slot"]


class Slot(NamedTuple):
    """The name of a worker and the lock that proves it lives."""

    name: str
    lock: IO[str]


def free_slot(home: Path, labels: frozenset[str]) -> Slot:
    """The first slot of these labels that no living worker has; now it is ours."""
    number = 1
    while True:
        name = "-".join(["worker", *sorted(labels), str(number)])
        lock = take_slot(home, name)
        if lock is not None:
            return Slot(name, lock)
        number += 1


def take_slot(home: Path, name: str) -> IO[str] | None:
    """The lock of the slot, ours until it is closed; None when the worker of this name lives."""
    return taken(home / "workers" / f"{name}.lock")


def is_free(home: Path, name: str) -> bool:
    """Whether no worker of this name lives."""
    lock = take_slot(home, name)
    if lock is None:
        return False
    lock.close()
    return True


def group(name: str) -> str:
    """What the names of all workers with the same labels begin with."""
    return name.rpartition("-")[0]
