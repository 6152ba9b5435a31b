"""Kahneman-Tversky optimisation: learn from single answers that are wanted or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tunesmith.train.objective import Group, Identity, Needs, Objective, Scored
from tunesmith.train.pairs import references
from tunesmith.types.conversation import Rendered, Shape

__all__ = ["Kto"]


class Kto(Objective):
    """loss = mean over answers of  w+ (1 - s(beta (r - z)))  if wanted,  w- (1 - s(beta (z - r)))  if not

    where r(y) = log p(y | x) - log p_start(y | x), s is the logistic function, w+ and w- are `desirable_weight` and
    `undesirable_weight` (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7 and 8). z estimates the divergence from the
    start policy; no gradient flows through it. It is computed as TRL does, from mismatched pairs: each prompt with the
    answer of the row before it in the dataset (the last row's for the first), z = max(0, mean of r over them), here
    over all answers of the optimizer step however it is cut into pieces. Pairs are read too: each chosen answer as
    wanted, each rejected one as unwanted. Keep w+ times wanted answers near w- times unwanted ones (1 to 4/3).

    By hand: beta 1, z 0.5; a wanted answer with r 1.5 gives 1 - s(1) = 0.2689, an unwanted one with r 0.5 gives
    1 - s(0) = 0.5; the mean is 0.3845.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("labelled", "preference")
    unpaired: ClassVar[bool] = True

    beta: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    desirable_weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    undesirable_weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)

    @property
    def needs(self) -> Needs:
        """The start policy's log-probabilities, of the mismatched sequences too."""
        return Needs(reference=True)

    def complete(self, groups: Sequence[Group], logprobs: Callable[[Sequence[Rendered]], Tensor]) -> Sequence[Group]:
        """The groups with z of the whole step as their baseline."""
        mismatched = [row for group in groups for row in group.unpaired]
        before = [value for group in groups for value in group.reference[len(group.rows) :]]
        now = logprobs(mismatched)
        divergence = max(0.0, float((now - now.new_tensor(before)).mean()))
        return [group._replace(baseline=divergence) for group in groups]

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        signs, ahead = self._ahead(scored, groups)
        weights = torch.where(signs > 0, self.desirable_weight, self.undesirable_weight)
        return (weights * (1 - torch.sigmoid(signs * ahead))).sum() / normaliser

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """z as `divergence`; how often the reward is on the label's side of it; by how much on average."""
        with torch.no_grad():
            signs, ahead = self._ahead(scored, groups)
        sides = signs * ahead
        return {
            "divergence": sum(group.baseline for group in groups) / len(groups),
            "reward_accuracy": float((sides > 0).float().mean()),
            "reward_margin": float(sides.mean()),
        }

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The policy is its own reference: nothing is ahead, z is 0, and every answer costs half its weight."""
        known = (Identity("divergence", 0.0), Identity("reward_margin", 0.0))
        if self.desirable_weight != self.undesirable_weight:
            return known
        return (*known, Identity("loss", self.desirable_weight / 2))

    def _ahead(self, scored: Scored, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """[G] +1 for wanted and -1 for unwanted answers, and beta (r - z)."""
        logprobs = scored.sequence_logprobs()
        signs = logprobs.new_tensor([1.0 if group.label else -1.0 for group in groups])
        baselines = logprobs.new_tensor([group.baseline for group in groups])
        return signs, self.beta * (logprobs - references(groups, logprobs) - baselines)
