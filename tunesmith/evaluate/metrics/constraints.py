"""constraints: the answer keeps to the checks on its form that its item lists, as IFEval counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.constraints.table import follows, named_constraints
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Constraints"]


class Constraints(Value):
    """Kept constraints / constraints (`level: instruction`), or answers that keep to all of theirs / answers
    (`level: answer`): the two accuracies of IFEval (Zhou et al. 2023, arXiv:2311.07911, section 2.2).

    `loose` also looks at the answer without asterisks and without its first and last line. Rows without
    `expect.constraints` are unscored. Kept 1 of 2 and 1 of 1: 2/3 by instruction, 1/2 by answer.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of checks on the answer's form (length, wording, layout) that it keeps to"

    loose: bool = False
    level: Literal["instruction", "answer"] = "instruction"

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (kept, constraints) or (all kept, 1). Raises EvaluationError for what is no constraint."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """kept / constraints, or answers that keep to all / answers."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        written = row.expect.get("constraints")
        if not isinstance(written, list) or not written:
            return np.nan, np.nan
        try:
            kept = [follows(row.answer, spec, self.loose) for spec in named_constraints(written)]
        except ValueError as error:
            raise EvaluationError(f"The item {row.example_id} cannot be judged: {error}") from None
        return (sum(kept), len(kept)) if self.level == "instruction" else (all(kept), 1.0)
