"""min_score: a metric of one contestant reaches a level, with certainty and not by luck."""

from __future__ import annotations

from pydantic import ConfigDict

from tunesmith.errors import RecipeError
from tunesmith.gate.rule import Reads, more_rows, rows_advice, score_of, shown
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.report import EvaluationReport

__all__ = ["MinScore"]


class MinScore(Value):
    """pass when the lower end of the metric's interval is at least `at_least`, fail when the upper end is below it.

    In between the rows do not tell: inconclusive. For metrics where higher is better.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"metric": "accuracy", "model": "tuned", "at_least": 0.85}]}
    )

    metric: str = "accuracy"
    model: str = "tuned"
    at_least: float

    def reads(self) -> Reads:
        """One metric of one contestant, where higher is better."""
        return Reads((self.metric,), (self.model,), "higher")

    def judge(self, report: EvaluationReport) -> Verdict:
        """Raises NotFound for an absent metric or contestant, RecipeError for a metric where lower is better."""
        score = score_of(report, self.model, self.metric)
        border = shown(self.at_least, score.scale)
        rule = f"min_score({self.model} {self.metric} at least {border})"
        if score.better == "lower":
            message = f"min_score cannot judge {self.metric}, where lower is better."
            raise RecipeError(message=message, hint="Use max_invalid or beats.")
        if score.value is None or score.low is None or score.high is None:
            reason = f"no row of {self.model} could be scored in {self.metric}"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        figures = (
            f"{self.metric} of {self.model} is {shown(score.value, score.scale)} on {score.n} rows "
            f"({score.confidence:.0%} interval {shown(score.low, score.scale)} to {shown(score.high, score.scale)})"
        )
        if score.low >= self.at_least:
            return Verdict(rule=rule, outcome="pass", reason=f"{figures}, certainly at least {border}")
        if score.high < self.at_least:
            return Verdict(rule=rule, outcome="fail", reason=f"{figures}, below {border}")
        more = more_rows(score.value - self.at_least, score.low, score.high, score.n, score.confidence)
        asked = f"{figures}, which does not settle whether it reaches {border}"
        return Verdict(rule=rule, outcome="inconclusive", reason=f"{asked}; {rows_advice(more)}")
