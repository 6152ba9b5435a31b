"""What the training loop takes from the recipe."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.train.forward import Batching
from tunesmith.train.schedule import Schedule
from tunesmith.types.recipe import TrainSpec

__all__ = ["LoopOptions"]


class LoopOptions(NamedTuple):
    """What the loop takes from `TrainSpec`, under the same names and with the same meaning, and the settled
    `accumulate`.
    """

    batching: Batching
    batch_size: int
    accumulate: int
    learning_rate: float
    schedule: Schedule
    warmup_ratio: float
    max_grad_norm: float
    seed: int
    checkpoint_every: int
    keep_checkpoints: int
    patience: int
    validate_every: int

    @classmethod
    def of(cls, spec: TrainSpec, accumulate: int) -> LoopOptions:
        """The options of `spec`."""
        names = [name for name in cls._fields if name != "accumulate"]
        return cls(accumulate=accumulate, **{name: getattr(spec, name) for name in names})
