"""beats: one contestant is better than another on the same rows, by more than chance."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.errors import NotFound
from tunesmith.gate.rule import Reads, more_rows, points, rows_advice, score_of
from tunesmith.types.base import Value
from tunesmith.types.decision import Outcome, Verdict
from tunesmith.types.report import Comparison, EvaluationReport

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
    by: float = Field(default=0.0, ge=0.0)

    def reads(self) -> Reads:
        """One metric of two contestants."""
        return Reads((self.metric,), (self.model, self.baseline))

    def judge(self, report: EvaluationReport) -> Verdict:
        """Raises NotFound for an absent metric or contestant."""
        scale = score_of(report, self.model, self.metric).scale
        margin = f" by {points(self.by, scale)}" if self.by else ""
        rule = f"beats({self.model} over {self.baseline} in {self.metric}{margin})"
        pair = self._paired(report)
        if pair is None:
            return Verdict(rule=rule, outcome="inconclusive", reason=f"no row was scored for both in {self.metric}")
        gain, low, high = _gain(pair)
        figures = (
            f"{self.model} is {points(abs(gain), scale)} {'better' if gain >= 0 else 'worse'} than "
            f"{self.baseline} in {self.metric} on the same {pair.n} rows ({pair.confidence:.0%} interval of the gain "
            f"{points(low, scale)} to {points(high, scale)}; {pair.test} p {_p(pair.p_value)}; "
            f"{pair.won} rows won, {pair.lost} lost)"
        )
        outcome = self._outcome(pair, low, high)
        if outcome == "inconclusive":
            advice = rows_advice(self._more(pair, gain, low, high))
            return Verdict(rule=rule, outcome=outcome, reason=f"{figures}; {advice}")
        return Verdict(rule=rule, outcome=outcome, reason=figures)

    def _outcome(self, pair: Comparison, low: float, high: float) -> Outcome:
        certain = self.by > 0.0 or pair.p_value < 1.0 - pair.confidence
        if low > self.by and certain:
            return "pass"
        same_everywhere = pair.won == 0 and pair.lost == 0
        return "fail" if high < self.by or same_everywhere else "inconclusive"

    def _more(self, pair: Comparison, gain: float, low: float, high: float) -> int | None:
        if self.by == 0.0 and pair.rows_for_decision is not None:
            return pair.rows_for_decision
        return more_rows(gain - self.by, low, high, pair.n, pair.confidence)

    def _paired(self, report: EvaluationReport) -> Comparison | None:
        """The comparison of the two, turned round when the report holds it the other way."""
        score_of(report, self.baseline, self.metric)
        if self.model == self.baseline:
            raise NotFound(f"beats cannot compare {self.model} with itself.", hint="Name two different contestants.")
        for pair in report.comparisons:
            if pair.metric != self.metric:
                continue
            if (pair.model, pair.baseline) == (self.model, self.baseline):
                return pair
            if (pair.model, pair.baseline) == (self.baseline, self.model):
                return _reversed(pair)
        return None


def _gain(pair: Comparison) -> tuple[float, float, float]:
    """The difference and its interval, positive when the model is better."""
    if pair.better == "higher":
        return pair.difference, pair.low, pair.high
    return -pair.difference, -pair.high, -pair.low


def _reversed(pair: Comparison) -> Comparison:
    turned = {"model": pair.baseline, "baseline": pair.model, "won": pair.lost, "lost": pair.won}
    return pair.model_copy(update={**turned, "difference": -pair.difference, "low": -pair.high, "high": -pair.low})


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"= {value:.3f}"
