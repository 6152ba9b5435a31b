"""max_invalid: answers that are none of the known labels stay rare."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.gate.rule import Reads, more_rows, rows_advice, score_of, shown
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.report import EvaluationReport

__all__ = ["MaxInvalid"]

METRIC = "invalid_rate"


class MaxInvalid(Value):
    """pass when the upper end of the invalid rate's interval is at most `at_most`, fail when the lower end is above it.

    `at_most` is above 0: no finite number of rows proves that an invalid answer never happens.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "tuned", "at_most": 0.05}]})

    model: str = "tuned"
    at_most: float = Field(default=0.05, gt=0.0, le=1.0)

    def reads(self) -> Reads:
        """The invalid rate of one contestant."""
        return Reads((METRIC,), (self.model,))

    def judge(self, report: EvaluationReport) -> Verdict:
        """Raises NotFound for an absent contestant, or when the invalid rate was not measured."""
        score = score_of(report, self.model, METRIC)
        rule = f"max_invalid({self.model} at most {shown(self.at_most, score.scale)})"
        if score.value is None or score.low is None or score.high is None:
            reason = "the dataset has no known labels, so no answer can be invalid"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        figures = (
            f"{shown(score.value, score.scale)} of {self.model}'s {score.n} answers are no known label "
            f"({score.confidence:.0%} interval {shown(score.low, score.scale)} to {shown(score.high, score.scale)})"
        )
        border = shown(self.at_most, score.scale)
        if score.high <= self.at_most:
            return Verdict(rule=rule, outcome="pass", reason=f"{figures}, certainly at most {border}")
        if score.low > self.at_most:
            return Verdict(rule=rule, outcome="fail", reason=f"{figures}, more than {border}")
        more = more_rows(self.at_most - score.value, score.low, score.high, score.n, score.confidence)
        asked = f"{figures}, which does not settle whether it stays within {border}"
        return Verdict(rule=rule, outcome="inconclusive", reason=f"{asked}; {rows_advice(more)}")
