"""Rules that hold one metric of one contestant against a bound, judged by its interval.

    at least    pass when the interval's lower end reaches the bound, fail when its upper end stays below
    at most     pass when the interval's upper end stays within the bound, fail when its lower end is above

In between, the rows do not tell: inconclusive, with about how many more would. A rule of this kind is a file that
states its metric, its default bound and its words.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from tunesmith.errors import RecipeError
from tunesmith.gate.rule import (
    Limit,
    Reads,
    SliceName,
    more_rows,
    more_rows_of_share,
    place,
    report_of,
    rows_advice,
    score_of,
    shown,
)
from tunesmith.types.base import Value
from tunesmith.types.decision import Outcome, Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Better, EvaluationReport, Score

__all__ = ["AtLeast", "AtMost"]


class _Bound(Value):
    """`metric` is what the score is called in the report: the metric's label, or its name."""

    direction: ClassVar[Better]
    side: ClassVar[str]
    opposite: ClassVar[str]
    says: ClassVar[str] = "{metric} of {model} is {value}"
    """The figure in a sentence; made of `metric`, `model` and `value`."""
    unscored: ClassVar[str] = "no row of {model} could be scored in {metric}"

    metric: str
    model: str = "tuned"
    suite: str = ""
    slice: SliceName = ""

    @property
    @abstractmethod
    def limit(self) -> Limit:
        """The bound, as its option says it."""

    @property
    def border(self) -> float:
        """The value of the bound."""
        return self.limit.value

    def reads(self) -> Reads:
        """One metric of one contestant."""
        return Reads((self.metric,), (self.model,), self.direction, self.suite, slice=self.slice, limit=self.limit)

    def _is_reached_by_all(self, score: Score) -> bool:
        """Whether the bound is the end of a share on its bad side."""
        return score.scale != "number" and self.border == (0.0 if self.direction == "higher" else 1.0)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite, metric or contestant, RecipeError for a metric of the other way."""
        score = score_of(report_of(report, self.suite), self.model, self.metric)
        border = shown(self.border, score.scale)
        where = place(self.suite, self.slice)
        name = type(self).__module__.rpartition(".")[2]
        rule = f"{name}({self.model} {self.metric} {self.side} {border}{where})"
        if score.better != self.direction:
            message = f"{name} cannot judge {self.metric}, where {score.better} is better."
            raise RecipeError(message=message, hint=f"Use {self.opposite} or beats.")
        if score.value is None or score.low is None or score.high is None:
            reason = self.unscored.format(metric=self.metric, model=self.model) + where
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        if score.scale == "number" and (score.clusters or score.n) < 2:
            reason = f"{self._figures(score)}; one {'group' if score.clusters else 'row'} says nothing about others"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        outcome = self._outcome(score.low, score.high)
        sure = ", as every model's is" if self._is_reached_by_all(score) else f", certainly {self.side} {border}"
        ends = {"pass": sure, "fail": f", {self._missed(border)}"}
        unsettled = f", which does not settle whether it is {self.side} {border}; {rows_advice(self._more(score))}"
        return Verdict(rule=rule, outcome=outcome, reason=self._figures(score) + ends.get(outcome, unsettled))

    def _outcome(self, low: float, high: float) -> Outcome:
        if self.direction == "higher":
            return "pass" if low >= self.border else "fail" if high < self.border else "inconclusive"
        return "pass" if high <= self.border else "fail" if low > self.border else "inconclusive"

    def _missed(self, border: str) -> str:
        return f"below {border}" if self.direction == "higher" else f"more than {border}"

    def _figures(self, score: Score) -> str:
        value = score.value or 0.0
        said = self.says.format(metric=self.metric, model=self.model, value=shown(value, score.scale))
        unscored = f", {score.unscored} unscored" if score.unscored else ""
        ends = f"{shown(score.low or 0.0, score.scale)} to {shown(score.high or 0.0, score.scale)}"
        rows = "1 row" if score.n == 1 else f"{score.n} rows"
        return f"{said} on {rows}{unscored} ({score.confidence:.0%} interval {ends})"

    def _more(self, score: Score) -> int | None:
        rows_needed = more_rows_of_share if score.interval.startswith("Wilson") else more_rows
        ends = (score.low or 0.0, score.high or 0.0)
        return rows_needed(score.value or 0.0, self.border, ends, score.n, score.confidence)


class AtLeast(_Bound):
    """A metric where higher is better reaches `at_least`."""

    direction: ClassVar[Better] = "higher"
    side: ClassVar[str] = "at least"
    opposite: ClassVar[str] = "max_score"

    at_least: float = Field(allow_inf_nan=False)

    @property
    def limit(self) -> Limit:
        """The least value that passes."""
        return Limit("at_least", self.at_least, "least")


class AtMost(_Bound):
    """A metric where lower is better stays within `at_most`."""

    direction: ClassVar[Better] = "lower"
    side: ClassVar[str] = "at most"
    opposite: ClassVar[str] = "min_score"

    at_most: float = Field(allow_inf_nan=False)

    @property
    def limit(self) -> Limit:
        """The greatest value that passes."""
        return Limit("at_most", self.at_most, "most")
