"""tool_schema_success: a tool call names an offered tool and fits its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.json_schemas import fits
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.tool_calls import called, parameters_of
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ToolSchemaSuccess"]


class ToolSchemaSuccess(Value):
    """Valid calls / calls: the tool is among `expect.tools`, the arguments are a JSON object that fits its parameters.

    Whether the call was the wanted one is not asked. Rows without a call or without `expect.tools` are unscored.
    Tool f(a: integer), called f(a=1), f(a="1"), g(): 1/3.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of tool calls that name an offered tool and fit its parameters' schema"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (valid calls, calls). Raises EvaluationError for parameters that are no JSON Schema."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """valid / calls."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        calls, parameters = called(row.calls), parameters_of(row.expect.get("tools"))
        if not calls or not parameters:
            return np.nan, np.nan
        try:
            valid = [
                call.name in parameters and call.arguments is not None and fits(call.arguments, parameters[call.name])
                for call in calls
            ]
        except ValueError as error:
            raise EvaluationError(f"The tools of {row.example_id} cannot be used: {error}") from None
        return sum(valid), len(valid)
