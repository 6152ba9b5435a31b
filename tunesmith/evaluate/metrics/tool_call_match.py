"""tool_call_match: the answer calls the tools that are wanted, with the right arguments, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.tool_calls import Stage, all_match, called, parameters_of
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["ToolCallMatch"]


class ToolCallMatch(Value):
    """Share of answers whose calls are those of `expect.calls`, in any order; no calls where none are wanted.

    A call is right when its name, its required arguments, their types (by the tool's parameters in `expect.tools`) and
    their values are, as in BFCL (see `evaluate/tool_calls.py`); `until: types` stops before the values, and so on.
    Texts are compared without case, spaces and , . / - _ * ^ unless they must be `exact`. Rows without `expect.calls`
    are unscored. Wanted f(a=1), called f(a=1), f(a=2), nothing: 1/3.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that call exactly the right tools with the right arguments"

    until: Stage = "values"
    exact: bool = False

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (all calls right, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        wanted = row.expect.get("calls")
        if not isinstance(wanted, list):
            return np.nan, np.nan
        calls = [each for each in wanted if isinstance(each, dict)]
        parameters = parameters_of(row.expect.get("tools"))
        return float(all_match(called(row.calls), calls, parameters, self.until, self.exact)), 1.0
