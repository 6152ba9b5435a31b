"""Supervised fine-tuning: weighted mean negative log-likelihood of the trained tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tunesmith.train.objective import Group, Objective, Scored, rows_of

__all__ = ["Sft"]


class Sft(Objective):
    """loss = - sum_k w_k log p(token_k | tokens before) / sum_k w_k, over all trained tokens of the optimizer step.

    By hand: log-probs (-1, -3) with weights (1, 2) give (1 + 6) / 3 = 7/3.
    """

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        return -(scored.logprobs * scored.weights).sum() / normaliser

    def amount(self, groups: Sequence[Group]) -> float:
        """Sum of the loss weights."""
        return sum(sum(row.loss_weights) for row in rows_of(groups))
