"""Simple preference optimisation: the mean log-probability per token is the reward, no reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tunesmith.train.objective import Group, Objective, Scored
from tunesmith.train.pairs import Pairs, in_pairs, pair_metrics
from tunesmith.types.conversation import Shape

__all__ = ["Simpo"]


class Simpo(Objective):
    """loss = mean over pairs of  -log s(beta l(chosen) - beta l(rejected) - gamma)

    where l(y) = log p(y | x) / |y| is the mean log-probability per answer token and s the logistic function (Meng et
    al. 2024, arXiv:2405.14734, eq. 6). `gamma` is the margin by which chosen should lead; half of `beta` is usual.

    By hand: l(chosen) = -1, l(rejected) = -2, beta 2, gamma 1: -log s(1) = 0.3133.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("preference",)

    beta: float = Field(default=2.0, gt=0.0, allow_inf_nan=False)
    gamma: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        return -F.logsigmoid(self._rewards(scored).margin - self.gamma).sum() / normaliser

    def reward(self, logprobs: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        """[S] the mean log-probability per token: there is no reference."""
        return logprobs / lengths

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Rewards beta l, their margin, and how often chosen is ahead."""
        with torch.no_grad():
            return pair_metrics(self._rewards(scored))

    def _rewards(self, scored: Scored) -> Pairs:
        return in_pairs(self.beta * scored.sequence_logprobs() / scored.lengths())
