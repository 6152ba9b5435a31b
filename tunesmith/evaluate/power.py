"""What a number of rows can find: power, the smallest difference that is found, the rows that a difference takes."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy import special, stats

from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.statistics import POWER

__all__ = ["detectable_by_error", "detectable_by_mcnemar", "mcnemar_power"]

STEPS = 14
"""Halvings of the searched range: a hundredth of a point."""


def mcnemar_power(gap: float, flips: float, rows: int, confidence: float) -> float:
    """How often McNemar's exact test finds a true difference of proportions `gap` on `rows` pairs, exactly computed.

    `flips` is the share of pairs on which the two disagree (at least `gap`). With F ~ Binomial(rows, flips) such pairs,
    of which Binomial(F, (flips + gap) / (2 flips)) are won, it is the chance that the test's p is below alpha. The test
    is conservative where flips are few, and this is the power of the test as it is, not of its approximation.
    """
    if flips <= 0.0:
        return 0.0
    middle, reach = rows * flips, 8.0 * math.sqrt(rows * flips * (1.0 - flips)) + 8.0  # all but about 1e-12 of the mass
    first, last = max(0, math.floor(middle - reach)), min(rows, math.ceil(middle + reach))
    flipped = np.arange(first, last + 1, dtype=np.float64)
    most_lost = _most_lost(rows, 1.0 - confidence)[first : last + 1]
    won = min(1.0, (flips + gap) / (2.0 * flips))
    found = _at_most(most_lost, flipped, 1.0 - won) + _at_most(most_lost, flipped, won)
    return float((stats.binom.pmf(flipped, rows, flips) * found).sum())


@lru_cache(maxsize=16)
def _most_lost(rows: int, alpha: float) -> Floats:
    """[rows + 1] for each number of flips, the most in one direction that is significant, or -1.

    Significant is 2 P(Binomial(flips, 1/2) <= most) < alpha. The normal quantile is at most a few off; the exact tail
    decides among its neighbours.
    """
    flipped = np.arange(rows + 1, dtype=np.float64)
    near = np.floor(flipped / 2.0 + NormalDist().inv_cdf(alpha / 2.0) * np.sqrt(flipped) / 2.0)
    most = np.full_like(flipped, -1.0)
    for candidate in (near + step for step in (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0)):
        significant = 2.0 * _at_most(candidate, flipped, 0.5) < alpha
        most = np.where((candidate >= 0.0) & significant, candidate, most)
    return most


def _at_most(most: Floats, tries: Floats, share: float) -> Floats:
    """P(Binomial(tries, share) <= most), 0 where `most` is below 0."""
    inside = np.clip(most, 0.0, np.maximum(tries - 1.0, 0.0))
    tail = special.betainc(np.maximum(tries - inside, 1.0), inside + 1.0, 1.0 - share)
    return np.where(most < 0.0, 0.0, np.where(most >= tries, 1.0, tail))


def detectable_by_mcnemar(won: float, lost: float, rows: int, confidence: float) -> float | None:
    """The smallest true difference of proportions that McNemar's exact test finds on `rows` pairs with 80% power.

    The two disagree on the share of pairs seen, (won + lost) / rows, or on just the difference where that is larger.
    None when not even a difference of 1 is found: five pairs or fewer at 95%.
    """
    seen = (won + lost) / rows

    def power(gap: float) -> float:
        return mcnemar_power(gap, max(seen, gap), rows, confidence)

    if power(1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def detectable_by_error(error: float, units: int, confidence: float) -> float | None:
    """The difference that `units` independent rows (or clusters) find with 80% power, given its standard error.

    (t_(1-alpha/2) + t_power) * error with units - 1 degrees of freedom (Miller 2024, section 5, with Student's t for
    the normal). None when the permutation test cannot reach alpha with so few, or when no row tells the two apart.
    """
    alpha = 1.0 - confidence
    if error <= 0.0 or 2.0 ** (1 - units) >= alpha:
        return None
    freedom = units - 1
    return float((stats.t.ppf(1.0 - alpha / 2.0, freedom) + stats.t.ppf(POWER, freedom)) * error)
