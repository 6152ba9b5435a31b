"""repair_rate: the answer is not valid as it stands, and becomes valid by mechanical repairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.schema_check import checked_rows
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["RepairRate"]


class RepairRate(Value):
    """Share of answers that fit `expect.schema` only after the repairs of `evaluate/json_answers.py`: code fence,
    surrounding text, single quotes, bare names, Python's words, trailing commas, raw line breaks, comments.

    Answers that no repair helps are counted by `unrepairable_rate`, not here: json_schema + repair_rate +
    unrepairable_rate = 1. See json_schema for `against` and for rows that are unscored.
    """

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that must be repaired mechanically to be valid JSON (lower is better)"

    against: dict[str, Any] | None = None

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (needs and takes repair, 1). Raises EvaluationError for what is no JSON Schema."""
        rows = [
            (np.nan, np.nan) if check is None else (float(bool(check.repairs)), 1.0)
            for check in checked_rows(predictions, self.against)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """repaired / rows."""
        return ratio(totals[..., 0], totals[..., 1])
