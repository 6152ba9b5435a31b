"""final_number: the number that the answer ends on is the right one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["FinalNumber"]

_NUMBER = re.compile(r"(?:(?<![\w).%\]])[-\u2212](?=[$\d.]))?(?:\$\s?)?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")
"""a dash is a sign where it touches the number and nothing that it could be taken from: not in '- 42' or '40-42'"""
_MARKS = (re.compile(r"####\s*(.*)"), re.compile(r"\\boxed\{([^{}]*)\}"))


class FinalNumber(Value):
    """Share of answers whose final number equals `expect.number`, or the reference's: 1,000 and $1000.00 are equal.

    The final number is the first after the last "####" (GSM8K's mark, Cobbe et al. 2021, arXiv:2110.14168) or inside
    the last \\\\boxed{}; without such a mark the last number in the answer, which `marked_only` does not accept. An
    answer without a number is wrong; a row that expects none is unscored.
    '7 * 6 = 42', '#### 41' to '42', '42': 1/2.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "proportion"
    meaning: ClassVar[str] = "share of answers that end on the right number"

    marked_only: bool = False

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right, 1)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / rows."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        given = row.expect.get("number", row.reference)
        wanted = _final(given, False) if isinstance(given, str) else _value(str(given))
        if wanted is None:
            return np.nan, np.nan
        return float(_final(row.answer, self.marked_only) == wanted), 1.0


def _final(text: str, marked_only: bool) -> Decimal | None:
    for mark in _MARKS:
        marked = mark.findall(text)
        if marked:
            found = _NUMBER.search(marked[-1])
            return _value(found.group()) if found else None
    numbers = [] if marked_only else _NUMBER.findall(text)
    return _value(numbers[-1]) if numbers else None


def _value(written: str) -> Decimal | None:
    try:
        return Decimal(re.sub(r"[$,\s]", "", written).replace("\u2212", "-"))
    except InvalidOperation:
        return None
