"""Group relative policy optimisation: a completion is good when it beats the others of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from tunesmith.train.advantages import group_relative
from tunesmith.train.objective import Group, Scored, rows_of
from tunesmith.train.policy import PolicyObjective, advantages_of, k3, tokens_of

__all__ = ["Grpo"]


class Grpo(PolicyObjective):
    """loss of a token = - min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A) + beta k3(start policy)

    Shao et al. 2024, arXiv:2402.03300, eq. 3. ratio is the token's probability now over that when it was sampled; A is
    its completion's reward less the mean of its prompt's `completions`, over their deviation (`scale_rewards`: of the
    group, of the batch, or none). `loss_type` says how tokens are averaged: grpo, first over each completion, then over
    completions; bnpo, over all tokens of the step; dr_grpo, their sum over completions times `max_tokens`
    (arXiv:2503.20783), which favours no length. `epsilon_high` None means `epsilon`. `unbiased_kl` multiplies k3 by the
    ratio: its gradient is then that of KL(policy || start) (DeepSeek-V3.2, arXiv:2512.02556); without it the penalty is
    the paper's. Completions are drawn at temperature 1.

    By hand, on policy (ratio 1) without beta: completions of 1 and 2 tokens with A = 1 and -1 give
    grpo (-1 + 1) / 2 = 0; bnpo (-1 + 2) / 3 = 1/3; dr_grpo with max_tokens 4 (-1 + 2) / 8 = 1/8.
    """

    loss_type: Literal["grpo", "bnpo", "dr_grpo"] = "grpo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    unbiased_kl: bool = True

    def advantages(self, groups: Sequence[Group]) -> list[tuple[float, ...]]:
        """Rewards relative to their group."""
        return group_relative([group.rewards for group in groups], self.scale_rewards)

    def amount(self, groups: Sequence[Group]) -> float:
        """Completions (grpo), tokens (bnpo), or completions times the most tokens (dr_grpo)."""
        rows = rows_of(groups)
        if self.loss_type == "bnpo":
            return float(sum(sum(row.loss_weights) for row in rows))
        return float(len(rows) * (self.max_tokens if self.loss_type == "dr_grpo" else 1))

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        logprobs = scored.logprobs.index_select(0, scored.token)  # [P]
        advantages = advantages_of(groups, logprobs).index_select(0, scored.sequence)  # [P]
        log_ratio = logprobs - tokens_of(groups, "sampled", logprobs)
        losses = -self.clipped(log_ratio, advantages)
        if self.beta > 0.0:
            drift = k3(logprobs, tokens_of(groups, "start", logprobs))
            losses = losses + self.beta * (drift * log_ratio.exp() if self.unbiased_kl else drift)
        if self.loss_type == "grpo":
            losses = losses / scored.lengths().index_select(0, scored.sequence)
        return losses.sum() / normaliser
