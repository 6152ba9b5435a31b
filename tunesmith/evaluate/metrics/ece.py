"""ece: how far the model's confidence is from how often it is right (expected calibration error)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunesmith.evaluate.calibration import Binning, Source, bin_edges, bin_places, confidences
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Ece"]


class Ece(Value):
    """Sum over bins of confidence of |right answers - sum of confidences| / rows (Guo et al. 2017, eq. 3).

    Confidences 0.9, 0.9, 0.6, 0.6 with 1, 1, 1, 0 right: (|2 - 1.8| + |1 - 1.2|) / 4 = 0.1. `source` is what confidence
    is read from (`evaluate.calibration.confidences`); `binning` makes bins of equal width, or of equal mass, whose
    borders are the rows' own quantiles. Rows without log-probabilities are unscored. Few rows give a figure above the
    truth.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "gap between how sure the model is and how often it is right (lower is better)"

    bins: int = Field(default=10, ge=1, le=1000)
    binning: Binning = "width"
    source: Source = "auto"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2 B] for B bins: rows in the bin, right answers - confidences in it."""
        rows = confidences(predictions, labels, self.source)
        sure, right = rows[:, 0], rows[:, 1]
        terms = np.zeros((len(rows), 2, self.bins))
        places = bin_places(np.nan_to_num(sure), bin_edges(sure, self.bins, self.binning))
        each = np.arange(len(rows))
        terms[each, 0, places] = 1.0
        terms[each, 1, places] = right - sure
        terms[~np.isfinite(sure)] = np.nan
        return terms.reshape(len(rows), 2 * self.bins)

    def value(self, totals: Floats) -> Floats:
        """Sum of |gaps| / rows."""
        counts, gaps = np.split(totals, 2, axis=-1)
        return ratio(np.abs(gaps).sum(axis=-1), counts.sum(axis=-1))
