"""beats: one contestant is better than another on the same rows, by more than chance."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.gate.paired import ONE_ROW, Gain, paired
from tunesmith.gate.rule import Limit, Reads, SliceName, place, points, report_of, rows_advice, score_of
from tunesmith.types.base import Value
from tunesmith.types.decision import Outcome, Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport, Scale

__all__ = ["Beats"]


class Beats(Value):
    """Judged on the paired gain: the difference in the metric's better direction, with its interval.

    pass when the interval lies above `by` (and, for `by: 0`, the paired test agrees: few flips can give an interval
    that is too narrow); fail when it lies below `by`, or when no row was answered better or worse; else inconclusive.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"metric": "accuracy", "model": "tuned", "baseline": "prompt_only", "by": 0.05}]
        }
    )

    metric: str = "accuracy"
    model: str = "tuned"
    baseline: str = "prompt_only"
    by: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    suite: str = ""
    slice: SliceName = ""

    def reads(self) -> Reads:
        """One metric of two contestants."""
        limit = Limit("by", self.by, "gain")
        return Reads((self.metric,), (self.model, self.baseline), None, self.suite, slice=self.slice, limit=limit)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite, metric or contestant."""
        found = report_of(report, self.suite)
        scale = score_of(found, self.model, self.metric).scale
        margin = f" by {points(self.by, scale)}" if self.by else ""
        rule = f"beats({self.model} over {self.baseline} in {self.metric}{margin}{place(self.suite, self.slice)})"
        gain = paired(found, self.metric, self.model, self.baseline)
        if gain is None:
            return Verdict(rule=rule, outcome="inconclusive", reason=f"no row was scored for both in {self.metric}")
        if gain.of_one_row:
            return Verdict(rule=rule, outcome="inconclusive", reason=f"{gain.sentence()}; {ONE_ROW}")
        outcome = self._outcome(gain)
        advice = f"; {rows_advice(self._more(gain))}" if outcome == "inconclusive" else ""
        if outcome == "fail":
            advice = self._refuted(gain, scale)
        return Verdict(rule=rule, outcome=outcome, reason=gain.sentence() + advice)

    def _outcome(self, gain: Gain) -> Outcome:
        pair = gain.pair
        certain = self.by > 0.0 or pair.p_value < 1.0 - pair.confidence
        if gain.low > self.by and certain:
            return "pass"
        return "fail" if gain.high < self.by or _same(gain) else "inconclusive"

    def _refuted(self, gain: Gain, scale: Scale) -> str:
        if _same(gain):
            return "; every row was answered alike, so there is no gain"
        return f", which rules out a gain of {points(self.by, scale)}" if self.by else ", which rules out a gain"

    def _more(self, gain: Gain) -> int | None:
        pair = gain.pair
        if self.by == 0.0 and pair.rows_for_decision is not None:
            return pair.rows_for_decision
        return gain.more_rows(self.by)


def _same(gain: Gain) -> bool:
    """Whether no row was answered better or worse."""
    return gain.pair.won == 0 and gain.pair.lost == 0
