"""unrepairable_rate: no mechanical repair makes the answer valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.schema_check import checked_rows
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["UnrepairableRate"]


class UnrepairableRate(Value):
    """Share of answers that fit `expect.schema` neither as they stand nor after the repairs that repair_rate names.

    See json_schema for `against` and for rows that are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that no mechanical repair makes valid JSON (lower is better)"

    against: dict[str, Any] | None = None

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (beyond repair, 1). Raises EvaluationError for what is no JSON Schema."""
        rows = [
            (np.nan, np.nan) if check is None else (float(check.repairs is None), 1.0)
            for check in checked_rows(predictions, self.against)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """beyond repair / rows."""
        return ratio(totals[..., 0], totals[..., 1])
