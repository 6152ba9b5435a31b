"""The interval of a difference of two paired shares: sound where few rows, or none, tell the two apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.statistics import Interval

__all__ = ["few_differ", "tango_interval"]

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


def few_differ(drawn: Interval, observed: float, gaps: Floats, confidence: float) -> Interval:
    """The bootstrap's interval `drawn` of a difference of shares, widened by Tango's where few rows tell the two apart.

    `gaps` [N] are the differences row by row, each between -1 and 1. Tango's interval takes them as so much of a flip:
    of all differences with this mean, whole flips vary most. It is placed at the `observed` difference, which is not
    the mean of the gaps where the metric is no mean (F1). Example: one row of 6 is won and no other differs: the
    bootstrap's interval ends at 0 and would rule out any loss, Tango's at -0.29.
    """
    won, lost = float(gaps[gaps > 0].sum()), float(-gaps[gaps < 0].sum())
    ends = tango_interval(won, lost, len(gaps), confidence)
    shift = observed - (won - lost) / len(gaps)
    return Interval(max(-1.0, min(drawn.low, ends.low + shift)), min(1.0, max(drawn.high, ends.high + shift)))


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
