"""Uncertainty of metrics that are computed from rows, not from totals (see `evaluate.metric.Ranked`).

The jackknife is inconsistent for percentiles (Efron & Tibshirani 1993, section 11.6), so the standard error is the
bootstrap's standard deviation and the interval its quantiles (the percentile method, section 13.3). Clusters are drawn
and swapped whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tunesmith.evaluate.clusters import Clusters
from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.statistics import RESAMPLES, Interval, blocks, counts_drawn

__all__ = ["Spread", "permutation_of_rows", "spread"]

ValueOfCounts = Callable[[Floats], Floats]
"""[B, N] how often each row counts -> [B] values"""


class Spread(NamedTuple):
    """The bootstrap's standard error and interval."""

    error: float | None
    interval: Interval


def spread(value: ValueOfCounts, rows: int, clusters: Clusters | None, confidence: float, *, seed: int = 0) -> Spread:
    """How far `value` varies over rows (or whole clusters) drawn with replacement. One row has no error, and no width.

    Replicates without a value (no row counted) are left out.
    """
    members = np.arange(rows) if clusters is None else clusters
    units = int(members.max()) + 1
    if units < 2:
        alone = float(value(np.ones((1, rows)))[0])
        return Spread(None, Interval(alone, alone))
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, units, size=(size, units)) for size in blocks(RESAMPLES, rows))
    replicates = np.concatenate([value(counts_drawn(each)[:, members]) for each in drawn])
    usable = replicates[np.isfinite(replicates)]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(usable, [tail, 1.0 - tail])
    return Spread(float(usable.std(ddof=1)), Interval(float(low), float(high)))


def permutation_of_rows(value: ValueOfCounts, rows: int, clusters: Clusters | None, *, seed: int = 0) -> float:
    """Two-sided p of value(model) - value(baseline) when rows (or whole clusters) swap sides at random.

    `value` reads counts [B, 2 N]: the model's N rows, then the baseline's. As `statistics.permutation_p`.
    """
    members = np.arange(rows) if clusters is None else clusters
    units = int(members.max()) + 1
    resamples = 2 * RESAMPLES

    def difference(ours: Floats) -> Floats:
        return value(np.concatenate([ours, 1.0 - ours], axis=1)) - value(np.concatenate([1.0 - ours, ours], axis=1))

    observed = abs(float(difference(np.ones((1, rows)))[0]))
    extreme = 0
    for kept in _kept(resamples, units, 2 * rows, seed):
        extreme += int((np.abs(difference(kept[:, members])) >= observed - 1e-12).sum())
    return (1 + extreme) / (1 + resamples)


def _kept(resamples: int, units: int, width: int, seed: int) -> Iterator[Floats]:
    """[B, units] 1 where a unit keeps its side, 0 where it is swapped."""
    random = np.random.default_rng(seed)
    for size in blocks(resamples, width):
        yield random.integers(0, 2, size=(size, units)).astype(np.float64)
