"""Which process of a run is this? Read from the environment that torchrun, accelerate and `--processes` give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tunesmith.errors import TrainingFailed

__all__ = ["REPORTS", "Place", "place_of", "require_alone"]

REPORTS = "TUNESMITH_REPORTS"
"""Environment variable: the folder in which our own launcher expects a word from every process that failed."""


class Place(NamedTuple):
    """`rank` of `size` processes, `local_rank` of `local_size` on this machine, and where their store listens."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    hosts_store: bool
    """whether this process must open the store; torchrun's agent opens its own"""
    reports: str | None = None
    """folder for what our launcher wants to know"""


def place_of(environment: Mapping[str, str]) -> Place | None:
    """This process's place, or None when it is the only one. Raises TrainingFailed when the environment is torn."""
    if int(environment.get("WORLD_SIZE") or 1) < 2:
        return None
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if missing:
        raise TrainingFailed(
            f"WORLD_SIZE is {environment['WORLD_SIZE']}, but {' and '.join(missing)} is not set.",
            hint="Start with: tunesmith train RECIPE --processes N, or torchrun; or unset WORLD_SIZE.",
        )
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    return Place(
        rank=rank,
        size=size,
        local_rank=int(environment.get("LOCAL_RANK") or rank),
        local_size=int(environment.get("LOCAL_WORLD_SIZE") or size),
        address=environment["MASTER_ADDR"],
        port=int(environment["MASTER_PORT"]),
        hosts_store=rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        reports=environment.get(REPORTS),
    )


def require_alone(environment: Mapping[str, str]) -> None:
    """Raise TrainingFailed in a process that torchrun or the like started as one of several: it must start no more."""
    place = place_of(environment)
    if place is not None:
        raise TrainingFailed(
            f"This process is rank {place.rank} of {place.size} already.",
            hint="Leave --processes out under torchrun, or unset WORLD_SIZE.",
        )
