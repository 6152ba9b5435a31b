"""Values of pairs: groups of two sequences, the chosen one first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tunesmith.train.objective import Group

__all__ = ["Pairs", "in_pairs", "pair_metrics", "references"]


class Pairs(NamedTuple):
    """One value per pair, [G] each."""

    chosen: Tensor
    rejected: Tensor

    @property
    def margin(self) -> Tensor:
        """[G] chosen minus rejected."""
        return self.chosen - self.rejected


def in_pairs(values: Tensor) -> Pairs:
    """[2 G] values in the order of the groups' rows, taken apart."""
    return Pairs(values[0::2], values[1::2])


def references(groups: Sequence[Group], like: Tensor) -> Tensor:
    """Log-probabilities of the groups' rows under the start policy, in the order of the rows."""
    return like.new_tensor([value for group in groups for value in group.reference[: len(group.rows)]])


def pair_metrics(rewards: Pairs) -> dict[str, float]:
    """Mean rewards, their mean margin, and the share of pairs whose margin is above 0."""
    return {
        "reward_accuracy": float((rewards.margin > 0).float().mean()),
        "reward_margin": float(rewards.margin.mean()),
        "chosen_reward": float(rewards.chosen.mean()),
        "rejected_reward": float(rewards.rejected.mean()),
    }
