"""A reward model: a score for each answer, trained so that chosen answers score higher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.train.objective import Group, Identity, Needs, Objective, Scored
from tunesmith.train.pairs import Pairs, in_pairs, pair_metrics
from tunesmith.types.conversation import Shape

__all__ = ["Reward"]


class Reward(Objective):
    """loss = mean over pairs of  -log s(v(chosen) - v(rejected) - margin) + centering (v(chosen) + v(rejected))^2

    where v is a linear score head on the last token's state (the answer's end of turn) and s the logistic function:
    Bradley & Terry 1952, with the data's margin as in Touvron et al. 2023 (arXiv:2307.09288, eq. 2) and `centering` to
    keep scores near 0 as in Eisenstein et al. 2023 (arXiv:2312.09244). The head starts at 0, is trained with the
    adapter and saved beside it. `tunesmith.models.reward.RewardModel` loads both again.

    By hand: v(chosen) 2, v(rejected) 0.5, margin 0.5: -log s(1) = 0.3133; with centering 0.01 plus 0.0625.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("preference",)

    centering: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    @property
    def needs(self) -> Needs:
        """A score head."""
        return Needs(values=True)

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        values = _values(scored)
        margins = values.chosen.new_tensor([group.margin for group in groups])
        losses = -F.logsigmoid(values.margin - margins)
        return (losses + self.centering * (values.chosen + values.rejected).square()).sum() / normaliser

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Scores, their margin, and how often chosen is ahead."""
        with torch.no_grad():
            return pair_metrics(_values(scored))

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Every score is 0 before the first step."""
        return (Identity("reward_margin", 0.0), Identity("chosen_reward", 0.0))


def _values(scored: Scored) -> Pairs:
    if scored.values is None:
        raise ModelError("The reward objective needs the values of a score head.")
    return in_pairs(scored.values)
