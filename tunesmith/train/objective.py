"""The contract of an objective: a pure loss on per-token log-probabilities. Plugins lie in
`tunesmith.train.objectives`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from tunesmith.types.base import Value

__all__ = ["Objective", "Scored"]


class Scored(NamedTuple):
    """What the model said of the M loss-bearing tokens of a batch."""

    logprobs: Tensor
    """[M] natural-log probability of each token, float32"""
    weights: Tensor
    """[M] summed loss weight of each token, float32"""
    computed_tokens: int
    """tokens that went through the model"""


class Objective(Value):
    """A frozen set of options with one pure function."""

    @abstractmethod
    def loss(self, scored: Scored, normaliser: float) -> Tensor:
        """Scalar loss of this piece of a step; `normaliser` is the sum of loss weights over the whole step.

        Dividing by the step's total makes accumulation exact: the pieces' losses add up to the loss of the whole step.
        """
