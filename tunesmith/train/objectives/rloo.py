"""REINFORCE leave-one-out: a completion is good when it beats the mean of the others of its prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.train.advantages import LEAST_DEVIATION, deviation, leave_one_out
from tunesmith.train.objective import Group, Scored
from tunesmith.train.policy import PolicyObjective, advantages_of, tokens_of

__all__ = ["Rloo"]


class Rloo(PolicyObjective):
    """loss of a completion = - min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A), mean over completions

    Ahmadian et al. 2024, arXiv:2402.14740, eq. 6. ratio is the whole completion's probability now over that when it was
    sampled; A is its reward, less beta times (log-probability when sampled - log-probability under the start policy),
    less the mean of the same over the other `completions` of its prompt; `normalize_advantages` puts the step's
    advantages to mean 0 and deviation 1. `epsilon_high` None means `epsilon`. Completions are drawn at temperature 1.

    By hand, on policy: rewards (1, 0) give A = (1, -1), so the loss is (-1 + 1) / 2 = 0 and its gradient that of
    (log p_2 - log p_1) / 2.
    """

    normalize_advantages: bool = False

    def advantages(self, groups: Sequence[Group]) -> list[tuple[float, ...]]:
        """Rewards, less what leaving the start policy costs, against the other completions' mean."""
        found = [leave_one_out(self._rewards(group)) for group in groups]
        if not self.normalize_advantages:
            return found
        scored = [a for own, group in zip(found, groups, strict=True) for a in _scored(own, group)]
        mean, spread = sum(scored) / max(1, len(scored)), deviation(scored) + LEAST_DEVIATION
        return [
            tuple(0.0 if reward is None else (a - mean) / spread for a, reward in zip(own, group.rewards, strict=True))
            for own, group in zip(found, groups, strict=True)
        ]

    def _rewards(self, group: Group) -> list[float | None]:
        if self.beta == 0.0:
            return list(group.rewards)
        rewards, first = [], 0
        for row, reward in zip(group.rows, group.rewards, strict=True):
            last = first + row.trained_tokens
            drift = sum(group.sampled[first:last]) - sum(group.start[first:last])
            rewards.append(None if reward is None else reward - self.beta * drift)
            first = last
        return rewards

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        logprobs = scored.sequence_logprobs()  # [S]
        tokens = tokens_of(groups, "sampled", logprobs)
        sampled = torch.zeros_like(logprobs).index_add(0, scored.sequence, tokens)
        return -self.clipped(logprobs - sampled, advantages_of(groups, logprobs)).sum() / normaliser


def _scored(advantages: Sequence[float], group: Group) -> list[float]:
    return [a for a, reward in zip(advantages, group.rewards, strict=True) if reward is not None]
