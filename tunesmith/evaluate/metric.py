"""The contract of every metric: rows become terms, and the value is a function of the terms' totals.

A metric turns each prediction into K numbers (`terms`), and computes its value from their sums over the rows
(`value`). Accuracy, for example, has the terms (right, 1) and the value right / rows; macro-F1 has, for every label,
(hit, is the reference, is the answer). Because totals add, one metric definition serves the score, the jackknife
standard error, the paired bootstrap (rows counted several times) and the paired permutation test (rows swapped).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tunesmith import plugins
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["FOLDER", "Floats", "Metric", "directions", "load_metric", "ratio"]

Floats = NDArray[np.float64]
FOLDER = "tunesmith.evaluate.metrics"


class Metric(Protocol):
    """A metric plugin: a frozen value, one file in `evaluate/metrics`.

    `better` says which direction is an improvement; `scale` is "proportion" when every row counts 0 or 1 and the value
    is their mean, "share" for other values between 0 and 1, else "number"; `meaning` explains it in one plain line.
    """

    better: ClassVar[Better]
    scale: ClassVar[Scale]
    meaning: ClassVar[str]

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, K] numbers per row, with K >= 1; a row of NaN is unscored."""

    def value(self, totals: Floats) -> Floats:
        """[..., K] sums of terms over rows -> [...] values; NaN where the totals define none."""


def load_metric(name: str) -> Metric:
    """The metric plugin called `name`. Raises NotFound with the nearest match."""
    return cast(Metric, plugins.load(FOLDER, name)())


def directions(names: Sequence[str]) -> dict[str, Better]:
    """Which direction is an improvement, for each named metric. Raises NotFound with the nearest match."""
    return {name: load_metric(name).better for name in names}


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element-wise quotient, NaN where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) != 0)
