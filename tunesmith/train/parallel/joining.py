"""Joining the other processes of a run, and leaving them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from tunesmith.errors import PeerLost
from tunesmith.train.parallel.place import Place, place_of
from tunesmith.train.parallel.ranks import Ranks
from tunesmith.train.parallel.sharding import Shards
from tunesmith.train.parallel.team import Alone, Team
from tunesmith.train.parallel.watch import Watch, connect
from tunesmith.types.recipe import ParallelSpec

__all__ = ["joined"]


@contextmanager
def joined(spec: ParallelSpec) -> Iterator[Team]:
    """This process's team: its fellows where the environment names any, else itself alone."""
    place = place_of(os.environ)
    if place is None:
        yield Alone()
        return
    with _group(place, spec) as team:
        yield team


@contextmanager
def _group(place: Place, spec: ParallelSpec) -> Iterator[Team]:
    watch = Watch(place, spec.silence_seconds)
    limit = timedelta(seconds=spec.wait_seconds)
    try:
        store = connect(place, spec.wait_seconds, hosts=place.hosts_store)
        watch.start()
        if torch.cuda.is_available():
            torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", store), rank=place.rank, world_size=place.size, timeout=limit
        )
    except RuntimeError as error:
        watch.end()
        reason = str(error).partition("\n")[0]
        raise PeerLost(f"Rank {place.rank} could not join the others: {reason}") from error
    team = Shards(place, watch) if spec.strategy == "fsdp" else Ranks(place, watch)
    try:
        yield team
        watch.end()  # the first to leave must not look frozen to the last
        with team.collective("farewell"):
            dist.barrier()
    finally:
        watch.end()
    dist.destroy_process_group()
