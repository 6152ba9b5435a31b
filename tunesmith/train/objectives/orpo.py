"""Odds-ratio preference optimisation: supervised tuning on the chosen answer and a preference term, no reference."""

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

__all__ = ["Orpo"]


class Orpo(Objective):
    """loss = mean over pairs of  -l(chosen) - beta log s(log odds(chosen) - log odds(rejected))

    where l(y) = log p(y | x) / |y| is the mean log-probability per answer token, odds = p / (1 - p) of that mean
    (log odds = l - log(1 - exp l)) and s the logistic function (Hong et al. 2024, arXiv:2403.07691, eq. 4 to 7; `beta`
    is the paper's lambda). The first term is the answer's own; TRL takes it over the prompt as well.

    By hand: l(chosen) = log 0.5, l(rejected) = log 0.2: odds 1 and 0.25, so 0.6931 - beta log s(log 4), and s(log 4) is
    0.8; with beta 0.1 the loss is 0.6931 + 0.0223 = 0.7155.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("preference",)

    beta: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        means = _means(scored)
        odds = Pairs(_log_odds(means.chosen), _log_odds(means.rejected))
        return (-means.chosen - self.beta * F.logsigmoid(odds.margin)).sum() / normaliser

    def reward(self, logprobs: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        """[S] the mean log-probability per token: there is no reference."""
        return logprobs / lengths

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Rewards beta l, their margin, and how often chosen is ahead."""
        with torch.no_grad():
            means = _means(scored)
            return pair_metrics(Pairs(self.beta * means.chosen, self.beta * means.rejected))


def _means(scored: Scored) -> Pairs:
    return in_pairs(scored.sequence_logprobs() / scored.lengths())


def _log_odds(means: Tensor) -> Tensor:
    """l - log(1 - exp l), computed as Maechler's log1mexp does; a probability of 1 is taken as just below it."""
    below = means.clamp(max=-torch.finfo(means.dtype).tiny)
    near = torch.log(-torch.expm1(below.clamp(min=-0.6931)))
    far = torch.log1p(-torch.exp(below.clamp(max=-0.6931)))
    return means - torch.where(below > -0.6931, near, far)
