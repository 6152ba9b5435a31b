"""cost_per_request: what a request costs at given prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["CostPerRequest"]

MILLION = 1_000_000


class CostPerRequest(Value):
    """Mean of (prompt tokens x prompt_price + answer tokens x answer_price) / 1,000,000, in the prices' currency.

    Prices are for a million tokens. 2,000 prompt and 500 answer tokens at 1 and 4: 0.004. All contestants are reckoned
    at the same prices; for models with different prices use the metric twice, with two labels. Rows whose server
    counts no prompt tokens are unscored while prompts have a price.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt_price": 1.0, "answer_price": 4.0}]})

    better: ClassVar[Better] = "lower"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "what a request costs on average at the given prices of tokens (lower is better)"

    prompt_price: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    answer_price: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (cost, 1). Raises EvaluationError when no price was given."""
        if not self.prompt_price and not self.answer_price:
            raise EvaluationError(
                "cost_per_request needs prices.",
                hint="Give prompt_price, answer_price, or both: the price of a million tokens.",
            )
        rows = [self._row(row) for row in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """cost / rows."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        if self.prompt_price and not row.prompt_tokens:
            return np.nan, np.nan
        cost = row.prompt_tokens * self.prompt_price + row.tokens * self.answer_price
        return cost / MILLION, 1.0
