"""The percentile of rows that count several times: what a bootstrap of a latency needs."""

from __future__ import annotations

import numpy as np

from tunesmith.evaluate.metric import Floats

__all__ = ["percentile_of"]


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
