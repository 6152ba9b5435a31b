"""The learning curve: an S-shaped law through the scores of nested subsets, and what it says of more rows.

score(n) = a / (1 + b n^-c), the Morgan-Mercer-Flodin curve that starts at 0: with many rows it is the inverse power
law a - a b n^-c (Cortes et al. 1993; Hestness et al. 2017, arXiv:1712.00409), with few it bends the other way, as small
tunes do that have yet to learn what an answer looks like. Gu et al. 2001 and Viering & Loog 2021 (arXiv:2103.10948)
found it among the best of the laws that are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.decide.evidence import Curve, CurvePoint, Forecast

__all__ = ["LEAST_SIZES", "Law", "Measured", "fit_law", "learning_curve"]

Floats = npt.NDArray[np.float64]
CEILINGS = 41
STEEPEST = 3.0
LEAST_SHARE = 1e-3
RESAMPLES = 400
LINE_POINTS = 24
LEAST_SIZES = 3
USELESS = 0.5
"""a forecast whose interval is as wide as half of all scores says nothing"""


class Law(NamedTuple):
    """score(n) = a / (1 + b n^-c)."""

    a: float
    b: float
    c: float

    def at(self, rows: float) -> float:
        """The score at `rows` rows."""
        return self.a / (1.0 + self.b * rows**-self.c)


class Measured(NamedTuple):
    """A point with what its interval is made from: `terms` [N, K] of its rows, and `value` of their totals."""

    point: CurvePoint
    terms: Floats
    value: Callable[[Floats], Floats]


def fit_law(rows: Sequence[float], scores: Sequence[float]) -> Law:
    """Least squares with a from the best score to 1 and 0 <= c <= 3.

    For each a of a grid log(s / (a - s)) is linear in log n; a line is fitted to it with the weights (s (1 - s / a))^2
    that make its errors those of the score (delta method), and the a wins whose curve is nearest to the scores.
    """
    x, y = np.log(np.asarray(rows, dtype=float))[None, :], np.asarray(scores, dtype=float)
    best = max(float(y.max()), LEAST_SHARE)
    a = np.linspace(best, max(best, 1.0), CEILINGS)[:, None]
    share = np.clip(y / a, LEAST_SHARE, 1.0 - LEAST_SHARE)
    z, weight = np.log(share / (1.0 - share)), (a * share * (1.0 - share)) ** 2
    total = weight.sum(axis=1, keepdims=True)
    mean_x, mean_z = (weight * x).sum(axis=1, keepdims=True) / total, (weight * z).sum(axis=1, keepdims=True) / total
    spread = (weight * (x - mean_x) ** 2).sum(axis=1, keepdims=True)
    slope = (weight * (x - mean_x) * (z - mean_z)).sum(axis=1, keepdims=True) / np.maximum(spread, 1e-30)
    c = np.clip(slope, 0.0, STEEPEST)
    log_b = c * mean_x - mean_z
    misfit = ((a / (1.0 + np.exp(log_b - c * x)) - y) ** 2).sum(axis=1)
    place = int(misfit.argmin())
    return Law(float(a[place, 0]), float(np.exp(log_b[place, 0])), float(c[place, 0]))


def learning_curve(
    measured: Sequence[Measured], full: int, confidence: float, wanted: float | None, seed: int = 0
) -> Curve:
    """The curve through `measured`, its forecast at `full` training rows and at twice as many.

    The interval is a bootstrap's: validation rows are drawn anew, the same for all sizes, and where there are several
    chains of subsets, chains too. It is not fitted below three sizes, where scores do not rise with rows, or where the
    forecast would be worth nothing; `failure` then says so.
    """
    points = tuple(each.point for each in measured)
    sizes = sorted({point.rows for point in points})
    if len(sizes) < LEAST_SIZES:
        found = f"{len(sizes)} subset{'' if len(sizes) == 1 else 's'} of different size"
        return Curve(points=points, failure=f"{found} measured; a curve needs {LEAST_SIZES}")
    law = fit_law([point.rows for point in points], [point.score for point in points])
    if law.c <= 0.0:
        return Curve(points=points, failure="the scores do not rise with the rows, so the law does not hold here")
    laws = _resampled(measured, seed)
    forecast = _forecaster(law, laws, confidence)
    at_full = forecast(full)
    if at_full.high - at_full.low > USELESS:
        width = f"{at_full.low:.0%} to {at_full.high:.0%}"
        return Curve(points=points, failure=f"the rows leave the score at all {full:,} rows anywhere from {width}")
    reach = np.geomspace(sizes[0], 2 * full, LINE_POINTS)
    return Curve(
        points=points,
        a=law.a,
        b=law.b,
        c=law.c,
        full=at_full,
        twice=forecast(2 * full),
        line=tuple(forecast(round(rows)) for rows in reach),
        rows_for_wanted=_rows_for(law, wanted),
        caution=_caution(sizes, full, len({point.chain for point in points})),
    )


def _forecaster(law: Law, laws: Sequence[Law], confidence: float) -> Callable[[int], Forecast]:
    tail = (1.0 - confidence) / 2

    def forecast(rows: int) -> Forecast:
        low, high = np.quantile([each.at(rows) for each in laws], [tail, 1.0 - tail])
        value = min(max(law.at(rows), 0.0), 1.0)
        return Forecast(rows=rows, value=value, low=max(min(float(low), value), 0.0), high=max(float(high), value))

    return forecast


def _resampled(measured: Sequence[Measured], seed: int) -> list[Law]:
    random = np.random.default_rng(seed)
    chains = sorted({each.point.chain for each in measured})
    rows = len(measured[0].terms)
    laws = []
    for _ in range(RESAMPLES):
        counts = np.bincount(random.integers(0, rows, rows), minlength=rows).astype(float)
        drawn = [chains[place] for place in random.integers(0, len(chains), len(chains))]
        used = [each for chain in drawn for each in measured if each.point.chain == chain]
        scores = [float(each.value(counts @ each.terms)) for each in used]
        finite = [(each.point.rows, score) for each, score in zip(used, scores, strict=True) if math.isfinite(score)]
        if len({size for size, _ in finite}) >= LEAST_SIZES:
            laws.append(fit_law([size for size, _ in finite], [score for _, score in finite]))
    return laws or [fit_law([each.point.rows for each in measured], [each.point.score for each in measured])]


def _rows_for(law: Law, wanted: float | None) -> int | None:
    """n = (b wanted / (a - wanted))^(1/c), rounded up; None above the asymptote or beyond a billion rows."""
    if wanted is None or wanted >= law.a:
        return None
    rows = (law.b * wanted / (law.a - wanted)) ** (1.0 / law.c)
    return math.ceil(rows) if rows < 1e9 else None


def _caution(sizes: Sequence[int], full: int, chains: int) -> str:
    said = []
    if chains == 1:
        said.append("one draw of subsets, so the luck of the draw is not in the interval")
    if full > 4 * sizes[-1]:
        said.append(f"the forecast reaches {full / sizes[-1]:.0f} times beyond the largest subset")
    if len(sizes) == LEAST_SIZES:
        said.append("three sizes fit a law of three numbers exactly, whatever the truth is")
    return "; ".join(said)
