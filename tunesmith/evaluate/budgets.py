"""How many rows to evaluate on: the interval that each budget buys, reckoned from a first measurement.

Ask 100 rows first; the table says what 200, 500 or 2,000 would add before they are paid for. Widths shrink with the
square root of the rows, and rows that share groups count as in the first measurement: more rows of the same mixture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunesmith.errors import EvaluationError
from tunesmith.evaluate import power, statistics
from tunesmith.evaluate.scoring import WILSON
from tunesmith.types.base import Value
from tunesmith.types.report import Comparison, Score

__all__ = ["BUDGETS", "Budget", "comparison_budgets", "score_budgets"]

BUDGETS = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Budget(Value):
    """What `rows` rows buy: an interval of about plus or minus `half_width`.

    For a comparison, `detectable` is the true difference that they find with 80% power (None: not even the largest).
    """

    rows: int
    half_width: float
    detectable: float | None = None


def score_budgets(score: Score, rows: Sequence[int] = BUDGETS) -> tuple[Budget, ...]:
    """The interval that each number of rows gives a score. Raises EvaluationError when nothing was scored.

    Wilson's own width for a proportion of independent rows, else the measured width times sqrt(n / rows). Example: 80
    of 100 right is +- 7.8 points; 400 rows are +- 3.9.
    """
    if score.value is None or score.low is None or score.high is None:
        raise EvaluationError(f"No row was scored in {score.metric}: there is nothing to reckon a budget from.")
    if score.interval == WILSON:
        intervals = [statistics.wilson_interval(score.value * each, each, score.confidence) for each in rows]
        return tuple(Budget(rows=n, half_width=_half(*ends)) for n, ends in zip(rows, intervals, strict=True))
    measured = _half(score.low, score.high)
    return tuple(Budget(rows=each, half_width=measured * math.sqrt(score.n / each)) for each in rows)


def comparison_budgets(pair: Comparison, rows: Sequence[int] = BUDGETS) -> tuple[Budget, ...]:
    """The interval of the difference, and the difference found with 80% power, for each number of rows.

    A difference of proportions is reckoned by the exact power of McNemar's test at the share of rows on which the two
    were seen to disagree (one row where that is none: few rows do not show that they never do); others by the measured
    `detectable`, which shrinks as the width does.
    """
    width = _half(pair.low, pair.high) * math.sqrt(pair.n)
    budgets = []
    for each in rows:
        if pair.test.startswith("McNemar"):
            share = each / pair.n
            flips = max(pair.won + pair.lost, 1) * share
            found = power.detectable_by_mcnemar(flips, 0.0, each, pair.confidence)
        else:
            found = None if pair.detectable is None else pair.detectable * math.sqrt(pair.n / each)
        budgets.append(Budget(rows=each, half_width=width / math.sqrt(each), detectable=found))
    return tuple(budgets)


def _half(low: float, high: float) -> float:
    return (high - low) / 2.0
