"""citation_accuracy: the answer cites the contexts that it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tunesmith.evaluate.citations import cited, context_ids
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["CitationAccuracy"]


class CitationAccuracy(Value):
    """Share of answers that cite exactly the ids in `expect.citations` (`score: exact`), or the mean over answers of
    the F1 of the two sets (`score: f1`; 1 where nothing is to be cited and nothing is).

    Citations are read from `field` of an answer that is a JSON object, else from marks such as [3]. Rows without
    `expect.citations` are unscored. Wanted {1, 2}, cited {1}: exact 0, F1 2/3.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of answers that cite the right contexts"

    score: Literal["exact", "f1"] = "exact"
    field: str = "citations"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (score, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """Mean score."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        wanted = row.expect.get("citations")
        if not isinstance(wanted, list):
            return np.nan, np.nan
        right, given = frozenset(map(str, wanted)), cited(row.answer, context_ids(row) or (), self.field)
        if self.score == "exact":
            return float(right == given), 1.0
        both = len(right) + len(given)
        return 2 * len(right & given) / both if both else 1.0, 1.0
