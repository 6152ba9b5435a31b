"""Percentiles of measured times, also over rows that count several times, which a bootstrap needs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["PercentileOfSeconds", "percentile_of"]


class PercentileOfSeconds(Value):
    """The smallest measured time that `percentile` percent of the rows do not exceed.

    Of 1, 2, 3, 9 seconds the 50th is 2, the 95th is 9. A percentile is no function of totals (see
    `evaluate.metric.Ranked`). Times are measured by the client, with as many requests in flight as the evaluation had.
    Rows without a time are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)

    percentile: float

    @abstractmethod
    def seconds_of(self, row: Prediction) -> float:
        """The row's time; 0 where none was measured."""

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (seconds, 1)."""
        times = [self.seconds_of(row) for row in predictions]
        rows = [(time, 1.0) if math.isfinite(time) and time > 0.0 else (np.nan, np.nan) for time in times]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """Seconds of one row; of several their mean."""
        return ratio(totals[..., 0], totals[..., 1])

    def value_of_rows(self, terms: Floats, counts: Floats) -> Floats:
        """The percentile over rows that count as often as said."""
        return percentile_of(terms[:, 0], counts, self.percentile)


def percentile_of(values: Floats, counts: Floats, percentile: float) -> Floats:
    """[N] values, [..., N] how often each counts -> [...] the smallest value that `percentile` % of them do not exceed.

    As `numpy.quantile(..., method="inverted_cdf", weights=counts)`: always a value that was measured. NaN where none
    counts.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[..., order], axis=-1)
    whole = reached[..., -1] if len(values) else np.zeros(counts.shape[:-1])
    # 1e-9: 95% of 20 rows is row 19, though 0.95 * 20 is a little more than 19 in floating point.
    wanted = np.maximum(percentile / 100.0 * whole - 1e-9, 1e-9)
    places = (reached < wanted[..., None]).sum(axis=-1)
    found = np.append(values[order], np.nan)[places]
    return np.asarray(np.where(whole > 0, found, np.nan))
