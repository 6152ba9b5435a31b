"""Several processes that train one model: copies of it whose gradients are added (DDP), or parts of it (FSDP2).

Copies: every process holds the whole model. The frozen base needs no exchange, so what travels is one sum of the
trained parameters' gradients a step (Li et al. 2020, arXiv:2006.15704, without their average: losses are already
divided by the normaliser of the whole step). Parts: see `tunesmith.train.parallel.sharding`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tunesmith.errors import PeerLost, TrainingFailed
from tunesmith.train.objective import Group
from tunesmith.train.parallel.agreement import AgreedInterruption
from tunesmith.train.parallel.place import Place
from tunesmith.train.parallel.team import Piece, Team, require_strategy
from tunesmith.train.parallel.watch import Watch
from tunesmith.train.plan import split_evenly
from tunesmith.types.recipe import TrainSpec

__all__ = ["Ranks"]

Item = TypeVar("Item")
Result = TypeVar("Result")
BUCKET_NUMBERS = 1 << 24


class Ranks(Team):
    """One rank of several, each with the whole model."""

    def __init__(self, place: Place, watch: Watch) -> None:
        self.rank, self.size, self.local_size = place.rank, place.size, place.local_size
        self.seed: tuple[int, ...] = (place.rank,)
        self.interruption: AgreedInterruption = AgreedInterruption()
        self.watch = watch
        self._local_rank = place.local_rank

    def own_device(self, device: torch.device) -> torch.device:
        """Each rank of a machine has a GPU of its own, as long as there are enough."""
        if device.type != "cuda":
            return device
        return torch.device("cuda", self._local_rank % torch.cuda.device_count())

    def require(self, spec: TrainSpec) -> None:
        """Copies train every method and objective."""
        require_strategy(spec, self.size)

    def at(self, place: str) -> None:
        """Tell the watchdog."""
        self.watch.at = place

    def stepping(self) -> AbstractContextManager[None]:
        """Signals take effect when all ranks heard of them."""
        return self.interruption.together()

    def pieces(self, groups: Sequence[Group], accumulate: int) -> Iterator[Piece]:
        """The pieces of this rank's share; none when there are fewer groups than ranks."""
        return (Piece(piece) for piece in split_evenly(self._share(groups), -(-accumulate // self.size)))

    def spread(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """Each rank's results, one after the other."""
        own = self._share(items)
        found = self._gather(list(work(own)) if own else self._idle(items, work), "exchange of results")
        return [result for part in found for result in part]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Added in float32. A parameter that no rank has a gradient of keeps none."""
        present = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
        with self.collective("sum of gradients"):
            dist.all_reduce(present)
        used = [parameter for parameter, count in zip(parameters, present.tolist(), strict=True) if count]
        for bucket in _buckets(used):
            flat = torch.cat([_gradient(parameter).float().reshape(-1) for parameter in bucket])
            with self.collective("sum of gradients"):
                dist.all_reduce(flat)
            sizes = [parameter.numel() for parameter in bucket]
            for parameter, part in zip(bucket, flat.split(sizes), strict=True):
                parameter.grad = part.view_as(parameter).to(parameter.dtype)

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """Added in the order of the ranks; what each rank was asked by signals travels with them."""
        found = self._gather((dict(values), self.interruption.asked), "sum of the step's numbers")
        self.interruption.agree([asked for _, asked in found])
        names = list(dict.fromkeys(name for own, _ in found for name in own))
        return {name: sum(own.get(name, 0.0) for own, _ in found) for name in names}

    def choose(self, decide: Callable[[], Result]) -> Result:
        """Rank 0's decision, sent to the others."""
        chosen: list[Any] = [decide() if self.leads else None]
        with self.collective("decision of rank 0"):
            dist.broadcast_object_list(chosen, src=0)
        result: Result = chosen[0]
        return result

    def leader_first(self, work: Callable[[], Result]) -> Result:
        """The others wait until rank 0 is done."""
        if self.leads:
            result = work()
            self._meet("work of rank 0")
            return result
        self._meet("work of rank 0")
        return work()

    def shard(self, model: Any) -> None:
        """Nothing moves; all ranks must begin with the same trained numbers."""
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._require_same(trained, "begin with")

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`tensors`, which every rank has. Raises TrainingFailed when one has drifted off."""
        self._require_same(tensors, "arrived at")
        return dict(tensors)

    def parted(self, tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """`tensors`: every rank needs all."""
        return tensors

    @contextmanager
    def collective(self, name: str) -> Iterator[None]:
        """What needs all ranks: known to the watchdog meanwhile, its failure in our words."""
        self.watch.waits = name
        try:
            yield
        except RuntimeError as error:
            raise self.lost(name, error) from error
        finally:
            self.watch.waits = ""

    def lost(self, name: str, error: Exception) -> PeerLost:
        """The error for a collective that failed."""
        reason = str(error).partition("\n")[0]
        return PeerLost(
            f"Rank {self.rank} lost another rank in: {name} ({self.watch.at}); {self.watch.seen()}. {reason}",
            hint="The last checkpoint is kept; the same command resumes.",
        )

    def _share(self, items: Sequence[Item]) -> Sequence[Item]:
        shares = list(split_evenly(items, self.size))
        return shares[self.rank] if self.rank < len(shares) else []

    def _idle(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """What a rank without a share does meanwhile."""
        return []

    def _meet(self, name: str) -> None:
        with self.collective(name):
            dist.barrier()

    def _gather(self, value: Result, name: str) -> list[Result]:
        found: list[Any] = [None] * self.size
        with self.collective(name):
            dist.all_gather_object(found, value)
        return found

    def _require_same(self, tensors: Mapping[str, Tensor], what: str) -> None:
        digests = self._gather(_digest(tensors), "comparison of the ranks' weights")
        other = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if other:
            raise TrainingFailed(
                f"The ranks {what} different weights: rank {', '.join(other)} differs from rank 0.",
                hint="All processes must run the same versions on the same kind of processor.",
            )


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters in order, as many at a time as `BUCKET_NUMBERS` numbers, one at least."""
    bucket: list[nn.Parameter] = []
    count = 0
    for parameter in parameters:
        if bucket and count + parameter.numel() > BUCKET_NUMBERS:
            yield bucket
            bucket, count = [], 0
        bucket.append(parameter)
        count += parameter.numel()
    if bucket:
        yield bucket


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
