"""The interval of a difference of two paired shares: sound where few rows, or none, tell the two apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.statistics import Interval

__all__ = ["covering", "gap_interval", "tango_interval"]

HALVINGS = 60


def tango_interval(won: float, lost: float, rows: float, confidence: float) -> Interval:
    """Tango's score interval of (won - lost) / rows (Tango 1998, Statistics in Medicine 17).

    It holds every difference d that the score test does not reject, z(d) = (won - lost - rows d) / sqrt(rows (2 q + d
    (1 - d))), where q is the likeliest share of lost rows given d. At d = 0 that is McNemar's test. A bootstrap of rows
    that are all alike has no width and would call any bound settled; by hand, with no flips in n rows this is
    -/+ z^2 / (n + z^2), and with n won of n it is from (n - z^2) / (n + z^2) to 1.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    observed = (won - lost) / rows

    def rejected(difference: float) -> bool:
        return abs(_score(difference, won, lost, rows)) > z

    return Interval(_end(rejected, observed, -1.0), _end(rejected, observed, 1.0))


def gap_interval(observed: float, gaps: Floats, confidence: float) -> Interval:
    """Tango's interval of a difference of shares, of the differences row by row `gaps` [N], each between -1 and 1.

    It takes them as so much of a flip: of all differences with this mean, whole flips vary most. It is placed at the
    `observed` difference, which is not the mean of the gaps where rows weigh differently. Example: one row of 6 is won
    and no other differs: a bootstrap's interval ends at 0 and would rule out any loss, this one at -0.29.
    """
    won, lost = float(gaps[gaps > 0].sum()), float(-gaps[gaps < 0].sum())
    ends = tango_interval(won, lost, len(gaps), confidence)
    shift = observed - (won - lost) / len(gaps)
    return Interval(max(-1.0, ends.low + shift), min(1.0, ends.high + shift))


def covering(one: Interval, other: Interval) -> Interval:
    """The least interval that holds both."""
    return Interval(min(one.low, other.low), max(one.high, other.high))


def _score(difference: float, won: float, lost: float, rows: float) -> float:
    linear = -won - lost + (2 * rows - won + lost) * difference
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(linear * linear - 8 * rows * constant, 0.0))
    variance = rows * (2 * (root - linear) / (4 * rows) + difference * (1 - difference))
    gap = won - lost - rows * difference
    if variance <= 1e-12:  # a difference of 1 or -1, or none without flips: certain, and so right or impossible
        return 0.0 if abs(gap) < 1e-9 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def _end(rejected: Callable[[float], bool], inside: float, outside: float) -> float:
    """The border between what is not rejected (from `inside` on) and what is, on the way to `outside`."""
    if not rejected(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside
