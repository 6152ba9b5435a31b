"""json_schema: the answer, as it stands, is JSON that fits the schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.schema_check import checked_rows
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["JsonSchema"]


class JsonSchema(Value):
    """Share of answers that are strict JSON (RFC 8259), with nothing around it, and fit `expect.schema`.

    A code fence, a word before it or a trailing comma fails: `repair_rate` counts those. `against` is the schema of
    rows that bring none; rows without any are unscored.
    Schema {type: object, required: [status]}: '{"status": 1}' fits, '{}' and '```{"status": 1}```' do not: 1/3.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that are valid JSON in the required schema, exactly as they stand"

    against: dict[str, Any] | None = None

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (fits, 1). Raises EvaluationError for what is no JSON Schema."""
        rows = [
            (np.nan, np.nan) if check is None else (float(check.fits), 1.0)
            for check in checked_rows(predictions, self.against)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """fits / rows."""
        return ratio(totals[..., 0], totals[..., 1])
