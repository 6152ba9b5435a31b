"""Direct preference optimisation: learn from pairs, relative to the policy that training started from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from tunesmith.train.objective import Group, Identity, Needs, Objective, Scored
from tunesmith.train.pairs import Pairs, in_pairs, pair_metrics, references
from tunesmith.types.conversation import Shape

__all__ = ["Dpo"]


class Dpo(Objective):
    """With r(y) = log p(y | x) - log p_start(y | x) and d = r(chosen) - r(rejected), the mean over pairs of

        sigmoid            -log s(beta d)                                         Rafailov et al. 2023 (2305.18290)
        robust             (-(1-e) log s(beta d) + e log s(-beta d)) / (1 - 2e)   Chowdhury et al. 2024 (2403.00409)
        hinge              max(0, 1 - beta d)                                     Zhao et al. 2023 (2305.10425)
        ipo                (d' - 1 / (2 beta))^2                                  Azar et al. 2023 (2310.12036)
        length_normalised  -log s(beta d')                                        Lambert et al. 2024 (2411.15124)

    (numbers on arXiv) where s is the logistic function, e is `label_smoothing` and d' takes r per answer token (so does
    TRL's ipo). With e above 0 sigmoid is -(1-e) log s(beta d) - e log s(-beta d). The reference p_start is the policy
    before the first step, computed once. `beta` is how much a log-ratio counts: 0.1 is usual, 5 for length_normalised.

    By hand: chosen -4, before -5; rejected -7, before -6: d = 1 + 1 = 2; beta 0.5 gives -log s(1) = 0.3133.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("preference",)

    variant: Literal["sigmoid", "ipo", "hinge", "robust", "length_normalised"] = "sigmoid"
    beta: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)

    @model_validator(mode="after")
    def _smoothing_has_a_meaning(self) -> Dpo:
        if self.label_smoothing and self.variant not in ("sigmoid", "robust"):
            raise ValueError(f"label_smoothing has no effect on the variant {self.variant}; set it to 0")
        return self

    @property
    def needs(self) -> Needs:
        """The start policy's log-probabilities."""
        return Needs(reference=True)

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        return self._losses(self._ratios(scored, groups)).sum() / normaliser

    def reward(self, logprobs: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        """[S] the log-ratio, per token in the variants whose loss takes it so."""
        return (logprobs - start) / lengths if self._per_token else logprobs - start

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Rewards beta r (per token where the variant is), their margin, and how often chosen is ahead."""
        with torch.no_grad():
            ratios = self._ratios(scored, groups)
            return pair_metrics(Pairs(self.beta * ratios.chosen, self.beta * ratios.rejected))

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The policy is its own reference: no margin, and the loss of d = 0."""
        start = float(self._losses(Pairs(torch.zeros(1), torch.zeros(1))))
        return (Identity("loss", start), Identity("reward_margin", 0.0))

    def _ratios(self, scored: Scored, groups: Sequence[Group]) -> Pairs:
        logprobs = scored.sequence_logprobs()
        return in_pairs(self.reward(logprobs, references(groups, logprobs), scored.lengths()))

    @property
    def _per_token(self) -> bool:
        return self.variant in ("ipo", "length_normalised")

    def _losses(self, ratios: Pairs) -> Tensor:
        scaled, e = self.beta * ratios.margin, self.label_smoothing
        if self.variant == "hinge":
            return torch.relu(1 - scaled)
        if self.variant == "ipo":
            return (ratios.margin - 1 / (2 * self.beta)).square()
        if self.variant == "robust":
            return (-(1 - e) * F.logsigmoid(scaled) + e * F.logsigmoid(-scaled)) / (1 - 2 * e)
        return -(1 - e) * F.logsigmoid(scaled) - e * F.logsigmoid(-scaled)
