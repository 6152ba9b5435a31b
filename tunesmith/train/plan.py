"""Which examples make up which step: a pure function, so that resuming can neither replay nor skip any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

__all__ = ["TrainingPlan", "split_evenly"]

Item = TypeVar("Item")


class TrainingPlan(NamedTuple):
    """(rows, batch size, epochs, seed) -> the row indices of every step. No sampler state exists.

    Each epoch is an independent permutation, or the stored order when the dataset is `ordered` (a curriculum); its last
    step holds what is left over.
    """

    rows: int
    batch_size: int
    epochs: int
    seed: int
    ordered: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.steps_per_epoch * self.epochs

    def indices(self, step: int) -> tuple[int, ...]:
        """Row indices of `step` (counted from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        shuffled = np.random.default_rng((self.seed, epoch)).permutation
        order = np.arange(self.rows) if self.ordered else shuffled(self.rows)
        return tuple(int(i) for i in order[place * self.batch_size : (place + 1) * self.batch_size])

    def ends_epoch(self, step: int) -> bool:
        """Whether `step` is the last one of its epoch."""
        return (step + 1) % self.steps_per_epoch == 0


def split_evenly(items: Sequence[Item], pieces: int) -> Iterator[Sequence[Item]]:
    """Cut `items` into at most `pieces` contiguous parts whose sizes differ by at most one; none is empty."""
    count = min(pieces, len(items))
    for piece in range(count):
        start, stop = piece * len(items) // count, (piece + 1) * len(items) // count
        yield items[start:stop]
