"""What more items would tell: the interval and the difference that each budget buys, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.evaluate.budgets import comparison_budgets, score_budgets
from tunesmith.evaluate.report import wording
from tunesmith.types.report import Contestant, EvaluationReport, Scale

__all__ = ["Reach", "reach_cells", "reaches"]

FEWEST = 20
"""Fewer items (or groups) say too little to reckon from."""


class Reach(NamedTuple):
    """What `rows` items buy: half the interval of the score, half that of the difference, and the difference that they
    find with 80% power (None: not even the largest, or there is nothing to compare with).
    """

    rows: int
    half_width: float
    half_width_of_difference: float | None = None
    detectable: float | None = None


def reaches(report: EvaluationReport, title: str, ours: Contestant, other: Contestant | None) -> tuple[Reach, ...]:
    """From the score of `ours` in `title` and its comparison with `other`; none where too few items were scored."""
    score = ours.scores[title]
    if score.value is None or score.low is None or (score.clusters or score.n) < FEWEST:
        return ()
    both = {ours.name, other.name} if other else set()
    pair = next(
        (each for each in report.comparisons if each.metric == title and {each.model, each.baseline} == both), None
    )
    scores = score_budgets(score)
    if pair is None:
        return tuple(Reach(each.rows, each.half_width) for each in scores)
    pairs = comparison_budgets(pair)
    return tuple(
        Reach(each.rows, each.half_width, gap.half_width, gap.detectable)
        for each, gap in zip(scores, pairs, strict=True)
    )


def reach_cells(
    found: Sequence[Reach], scale: Scale, ours: str, other: str | None
) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) of the table; no heads where there is nothing to show."""
    if not found:
        return [], []

    def width(value: float | None) -> str:
        return wording.NOTHING if value is None else f"\u00b1 {wording.points(value, scale)}"

    def points(value: float | None) -> str:
        return wording.NOTHING if value is None else wording.points(value, scale)

    heads = ["Items", f"Interval of {ours}"]
    if other is None:
        return heads, [[f"{each.rows:,}", width(each.half_width)] for each in found]
    heads += [f"Interval of the difference to {other}", "Difference found 4 times in 5"]
    return heads, [
        [f"{each.rows:,}", width(each.half_width), width(each.half_width_of_difference), points(each.detectable)]
        for each in found
    ]
