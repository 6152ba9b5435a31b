"""How much better than expected each completion of a prompt did. Pure arithmetic on rewards; None is unscored.

An unscored completion takes no part in any mean or deviation and has the advantage 0: it teaches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["LEAST_DEVIATION", "Rewards", "deviation", "group_relative", "leave_one_out"]

Rewards = Sequence[float | None]

LEAST_DEVIATION = 1e-4
"""added to a deviation that rewards are divided by"""


def group_relative(groups: Sequence[Rewards], scale: str) -> list[tuple[float, ...]]:
    """(r - mean of the group) / (deviation + 1e-4), the deviation of the `group`, of the whole `batch`, or `none`.

    Shao et al. 2024, arXiv:2402.03300, section 4.1.2; without the division: Liu et al. 2025, arXiv:2503.20783.
    By hand: rewards (1, 0, 0, 1) have mean 1/2 and deviation sqrt(1/3): advantages +-0.5 / (0.57735 + 0.0001).
    """
    everything = deviation([reward for rewards in groups for reward in rewards])
    results = []
    for rewards in groups:
        divisor = 1.0 if scale == "none" else LEAST_DEVIATION + (everything if scale == "batch" else deviation(rewards))
        known = [reward for reward in rewards if reward is not None]
        mean = math.fsum(known) / len(known) if known else 0.0
        results.append(tuple(0.0 if reward is None else (reward - mean) / divisor for reward in rewards))
    return results


def leave_one_out(rewards: Rewards) -> tuple[float, ...]:
    """r_i - mean of the other completions' rewards; 0 where there is no other.

    Ahmadian et al. 2024, arXiv:2402.14740, eq. 6. By hand: (1, 0, 0, 1): 1 - 1/3 = 2/3 and 0 - 2/3 = -2/3.
    """
    known = [reward for reward in rewards if reward is not None]
    total, others = math.fsum(known), len(known) - 1
    if others < 1:
        return (0.0,) * len(rewards)
    return tuple(0.0 if reward is None else reward - (total - reward) / others for reward in rewards)


def deviation(rewards: Rewards) -> float:
    """Sample standard deviation (n - 1) of the scored ones; 0 for fewer than two."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2:
        return 0.0
    mean = math.fsum(known) / len(known)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / (len(known) - 1))
