"""unknown_citation_rate: the answer cites something that it was not given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.citations import cited, context_ids
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["UnknownCitationRate"]


class UnknownCitationRate(Value):
    """Share of answers that cite an id which is not among `expect.contexts` (see citation_accuracy for `field`).

    Rows without `expect.contexts` are unscored. Contexts 1 and 2, cited {1}, {1, 3}, nothing: 1/3.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that cite a source which was not given to them (lower is better)"

    field: str = "citations"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (cites an unknown id, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """answers with an unknown citation / answers."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        known = context_ids(row)
        if known is None:
            return np.nan, np.nan
        return float(not cited(row.answer, known, self.field) <= set(known)), 1.0
