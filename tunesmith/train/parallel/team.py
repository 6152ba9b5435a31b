"""What the training loop asks of the processes that train together; `Alone` is one process and changes nothing.

A step is a pure function of its groups (see `tunesmith.train.plan`). Every process knows all groups of the step and
computes its own share of them. Losses are divided by the normaliser of the whole step on every process, so shares are
put together by adding, never by averaging: gradients, losses and metrics are those of one process up to the order in
which numbers are added.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from tunesmith.train.interruption import Interruption
from tunesmith.train.objective import Group
from tunesmith.train.parallel.zero import refuse_zero
from tunesmith.train.plan import split_evenly
from tunesmith.types.recipe import ParallelSpec, TrainSpec

__all__ = ["Alone", "Piece", "Team", "require_strategy"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Piece(NamedTuple):
    """Groups that go through the model at once. One that does not count only keeps the processes in step."""

    groups: Sequence[Group]
    counts: bool = True


class Team(ABC):
    """One of `size` processes that train one model; `rank` counts from 0. All of them make the same calls in the same
    order.

    `local_size` of them share this machine's memory and processor. `seed` tells their random numbers apart.
    """

    rank: int
    size: int
    local_size: int
    seed: tuple[int, ...]
    interruption: Interruption

    @property
    def parts(self) -> int:
        """Over how many processes the optimizer's moments are spread."""
        return 1

    def own_device(self, device: torch.device) -> torch.device:
        """Which of the devices of the kind of `device` this process computes on."""
        return device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    @abstractmethod
    def require(self, spec: TrainSpec) -> None:
        """Raise RecipeError for what this team cannot train."""

    @abstractmethod
    def at(self, place: str) -> None:
        """Say where in the run this process is; a watchdog repeats it when the process falls silent."""

    @abstractmethod
    def stepping(self) -> AbstractContextManager[None]:
        """Around the training steps: asked to stop, all processes stop after the same step."""

    @abstractmethod
    def pieces(self, groups: Sequence[Group], accumulate: int) -> Iterator[Piece]:
        """This process's share of a step's groups, in pieces no larger than `accumulate` pieces of all groups."""

    @abstractmethod
    def spread(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """`work(items)`, one result per item in order, each process working on its share."""

    @abstractmethod
    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Put the sum of all processes' gradients in the place of each one's."""

    @abstractmethod
    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sum over all processes of each value; a name that is missing somewhere counts as 0 there."""

    @abstractmethod
    def choose(self, decide: Callable[[], Result]) -> Result:
        """What rank 0 decides, on every process. Only rank 0 calls `decide`."""

    @abstractmethod
    def leader_first(self, work: Callable[[], Result]) -> Result:
        """`work()` on rank 0, and when that is done on the others."""

    @abstractmethod
    def shard(self, model: Any) -> None:
        """Make `model` ready for steps of the whole team, spread over its processes where the strategy says so."""

    @abstractmethod
    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a model in training as one process would hold them; empty on other processes where sharded."""

    @abstractmethod
    def parted(self, tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Inverse of `whole` for the tensors `<parameter index>.<name>` of `optimizer`."""

    def regathered(self, model: Any, rebuild: Callable[[], Any]) -> Any:
        """A model that is whole on rank 0 and shaped like the trained one: `model` itself, or what `rebuild` makes."""
        return model


class Alone(Team):
    """One process: every share is the whole."""

    def __init__(self) -> None:
        self.rank, self.size, self.local_size = 0, 1, 1
        self.seed: tuple[int, ...] = ()
        self.interruption = Interruption()

    def require(self, spec: TrainSpec) -> None:
        """Everything can be trained alone, whatever strategy more processes would follow."""
        require_strategy(spec, 1)

    def at(self, place: str) -> None:
        """Nobody asks."""

    def stepping(self) -> AbstractContextManager[None]:
        """A lone process stops as soon as it can."""
        return nullcontext()

    def pieces(self, groups: Sequence[Group], accumulate: int) -> Iterator[Piece]:
        """All groups, cut evenly."""
        return (Piece(piece) for piece in split_evenly(groups, accumulate))

    def spread(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """`work(items)`."""
        return list(work(items))

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """There is nothing to add."""

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """`values`."""
        return dict(values)

    def choose(self, decide: Callable[[], Result]) -> Result:
        """`decide()`."""
        return decide()

    def leader_first(self, work: Callable[[], Result]) -> Result:
        """`work()`."""
        return work()

    def shard(self, model: Any) -> None:
        """The model stays as it is."""

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`tensors`."""
        return dict(tensors)

    def parted(self, tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """`tensors`."""
        return tensors


def require_strategy(spec: TrainSpec, processes: int) -> None:
    """Raise RecipeError or MissingDependency for a strategy that is not trained here.

    Counts every field of a tracked spec's `parallel` as read: `joined` applied them before tracking began, and to a
    lone process they say how it would be spread.
    """
    refuse_zero(spec, processes)
    for name in ParallelSpec.model_fields:
        getattr(spec.parallel, name)
