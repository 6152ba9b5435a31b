"""Intervals and paired tests over rows of terms (see `evaluate.metric`). Pure, seeded, vectorised.

Everything works on totals: a bootstrap replicate counts each row 0, 1, 2, ... times, a permutation swaps the two
contestants' rows, and the metric's `value` is applied to the resulting sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tunesmith.evaluate.metric import Floats

__all__ = [
    "Interval",
    "all_alike",
    "bca_interval",
    "blocks",
    "bootstrap",
    "counts_drawn",
    "effective_rows",
    "holm",
    "jackknife",
    "many_differ",
    "mcnemar_p",
    "mcnemar_rows",
    "permutation_p",
    "rows_for_standard_error",
    "standard_error",
    "unlike_most",
    "wilson_interval",
]

Value = Callable[[Floats], Floats]
RESAMPLES = 2000
POWER = 0.8
BLOCK = 4_000_000
FEW_DIFFER = 10


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def jackknife(terms: Floats, value: Value) -> Floats:
    """[N] values, each with one row left out."""
    return value(terms.sum(axis=0) - terms)


def standard_error(left_out: Floats) -> float | None:
    """Jackknife standard error sqrt((N - 1) / N * sum((v_i - mean)^2)) of leave-one-out values [N]; None if N < 2.

    For a mean it is s / sqrt(N) exactly; for smooth functions of means (F1, perplexity) it is consistent
    (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, eq. 11.5).
    """
    rows = len(left_out)
    if rows < 2 or not np.isfinite(left_out).all():
        return None
    return float(np.sqrt((rows - 1) / rows * np.square(left_out - left_out.mean()).sum()))


def all_alike(error: float | None, rows: int) -> bool:
    """Whether resampling the rows shows no spread, so that a bootstrap would claim certainty it cannot have."""
    return rows < 2 or (error is not None and error < 1e-12)


def many_differ(own: Floats) -> bool:
    """Whether at least ten of the rows' own values [N] differ from the commonest one.

    Of fewer, a bootstrap draws too little: with one imperfect answer in six it would rule out a mean below 95%, which
    six perfect ones do not.
    """
    return unlike_most(own) >= FEW_DIFFER


def unlike_most(own: Floats) -> int:
    """How many of the values [N] differ from the commonest one."""
    _, counts = np.unique(np.round(np.nan_to_num(own), 12), return_counts=True)
    return len(own) - int(counts.max(initial=0))


def wilson_interval(hits: float, rows: float, confidence: float) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927): sound at 0 and 1 too, where the plain one has no width."""
    z = _z(confidence)
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def effective_rows(rows: int, clusters: int, alone: float | None, clustered: float | None) -> float:
    """How many independent rows tell as much: rows / design effect, the square of `clustered` over `alone`.

    `alone` is the standard error as if rows were independent. Never more than `rows`: rows of a cluster that balance
    each other by chance are no additional evidence (Kish 1965, section 8.2). Where all rows are equal, nothing tells
    how much they depend on each other, and a cluster counts as one row.
    """
    if not alone or clustered is None:
        return float(clusters)
    return rows / max(1.0, (clustered / alone) ** 2)


def bootstrap(terms: Floats, value: Value, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """[resamples] values over rows drawn with replacement. Rows are drawn whole, so paired terms stay paired."""
    rows = len(terms)
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, rows, size=(size, rows)) for size in blocks(resamples, rows))
    return np.concatenate([value(counts_drawn(each) @ terms) for each in drawn])


def counts_drawn(drawn: NDArray[np.int64]) -> Floats:
    """[B, N] row numbers drawn -> [B, N] how often each row was drawn (faster than a multinomial draw)."""
    size, rows = drawn.shape
    places = drawn + rows * np.arange(size)[:, None]
    return np.bincount(places.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def bca_interval(observed: float, replicates: Floats, left_out: Floats, confidence: float) -> Interval:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987), as in `scipy.stats.bootstrap(method="BCa")`.

    z0 = Phi^-1(share of replicates below the observed value, ties half); a = sum(d^3) / (6 sum(d^2)^1.5) over
    jackknife deviations d; the ends are the replicates' quantiles at Phi(z0 + (z0 + z) / (1 - a (z0 + z))) for
    z = -/+ z_(1-alpha/2).
    Replicates that are all equal give an interval without width. Where a value left out is none (the only row of its
    kind), nothing gives a, and the ends are the plain quantiles.
    """
    usable = replicates[np.isfinite(replicates)]
    if len(usable) and len(left_out) and not np.isfinite(left_out).all():
        tail = (1.0 - confidence) / 2.0
        return Interval(*(float(end) for end in np.quantile(usable, [tail, 1.0 - tail])))
    deviations = left_out.mean() - left_out if len(left_out) else left_out
    spread = float(np.square(deviations).sum())
    if not len(usable) or spread == 0.0:
        return Interval(observed, observed)
    below = float((usable < observed).mean() + (usable <= observed).mean()) / 2
    margin = 1.0 / (len(usable) + 1)
    bias = NormalDist().inv_cdf(min(max(below, margin), 1.0 - margin))
    acceleration = float((deviations**3).sum()) / (6.0 * spread**1.5)

    def end(z: float) -> float:
        shifted = bias + z
        share = NormalDist().cdf(bias + shifted / (1.0 - acceleration * shifted))
        return float(np.quantile(usable, share))

    return Interval(end(-_z(confidence)), end(_z(confidence)))


def mcnemar_p(won: int, lost: int) -> float:
    """McNemar's exact two-sided p: under no difference the won flips are Binomial(won + lost, 1/2) (McNemar 1947)."""
    if won + lost == 0:
        return 1.0
    return float(stats.binomtest(won, won + lost, 0.5).pvalue)


def permutation_p(
    model: Floats, baseline: Floats, value: Value, *, seed: int = 0, resamples: int = 2 * RESAMPLES
) -> float:
    """Two-sided p of the difference when each row's two answers [N, K] are swapped at random (paired permutation).

    (1 + swaps at least as extreme) / (1 + swaps), never 0 (Phipson & Smyth 2010). A swap without a value counts as
    extreme: what cannot be compared must not make a difference look surer.
    """
    observed = abs(float(value(model.sum(axis=0)) - value(baseline.sum(axis=0))))
    total, gap = baseline.sum(axis=0), model - baseline
    random = np.random.default_rng(seed)
    extreme = 0
    for size in blocks(resamples, len(model)):
        moved = random.integers(0, 2, size=(size, len(model))).astype(np.float64) @ gap
        differences = np.abs(value(total + moved) - value(total + gap.sum(axis=0) - moved))
        extreme += int((~(differences < observed - 1e-12)).sum())
    return (1 + extreme) / (1 + resamples)


def holm(p_values: tuple[float, ...]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given (Holm 1979): the k-th smallest of m times m - k + 1, at least those
    before it, at most 1. Whoever calls those below alpha different errs anywhere in the family at most with alpha.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def mcnemar_rows(won: int, lost: int, rows: int, confidence: float) -> int:
    """Rows in all that McNemar's test needs to find a difference of the observed size with 80% power.

    n = (z_(1-alpha/2) sqrt(psi) + z_power sqrt(psi - delta^2))^2 / delta^2 with psi = (won + lost) / rows, the share
    of rows on which the two disagree, and delta = (won - lost) / rows (Connor, Biometrics 43, 1987, eq. 2). A
    difference below one row is taken as one row, the smallest that could have been seen. Never fewer than bring as many
    disagreements as the exact test needs when all are one way: 6 at 95%.
    """
    delta = max(abs(won - lost), 1) / rows
    psi = max(won + lost, 1) / rows
    root = _z(confidence) * math.sqrt(psi) + NormalDist().inv_cdf(POWER) * math.sqrt(max(psi - delta * delta, 0.0))
    fewest_flips = math.floor(math.log2(2.0 / (1.0 - confidence))) + 1
    return max(math.ceil((root / delta) ** 2), math.ceil(fewest_flips / psi))


def rows_for_standard_error(distance: float, error: float, rows: int, confidence: float) -> int:
    """Rows in all at which a difference of `distance` is found with 80% power, given its standard error at `rows` rows.

    The error shrinks with the square root of the rows: n = rows * ((z_(1-alpha/2) + z_power) * error / distance)^2. A
    distance below 1/10 of the error is taken as that: what is smaller cannot be told from none.
    """
    smallest = max(abs(distance), error / 10)
    if smallest == 0.0:
        return rows
    return math.ceil(rows * ((_z(confidence) + NormalDist().inv_cdf(POWER)) * error / smallest) ** 2)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def blocks(resamples: int, rows: int) -> Iterator[int]:
    """Sizes that sum to `resamples`, each small enough that size * rows numbers fit in memory."""
    size = max(1, BLOCK // max(1, rows))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)
