"""latency: how long a whole answer takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.percentiles import percentile_of
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Latency"]


class Latency(Value):
    """A percentile of the seconds from a request to the end of its answer.

    The smallest measured time that `percentile` percent of the rows do not exceed: of 1, 2, 3, 9 seconds the 50th is 2,
    the 95th is 9. A percentile is no function of totals (see `evaluate.metric.Ranked`). Times are measured by the
    client, with as many requests in flight as the evaluation had. Rows without a time are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = (
        "seconds until an answer is complete: the 95th percentile, or another one (lower is better)"
    )

    percentile: float = Field(default=95.0, gt=0.0, le=100.0)

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (seconds, 1)."""
        rows = [
            (row.seconds, 1.0) if math.isfinite(row.seconds) and row.seconds > 0.0 else (np.nan, np.nan)
            for row in predictions
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """Seconds of one row; of several their mean."""
        return ratio(totals[..., 0], totals[..., 1])

    def value_of_rows(self, terms: Floats, counts: Floats) -> Floats:
        """The percentile over rows that count as often as said."""
        return percentile_of(terms[:, 0], counts, self.percentile)
