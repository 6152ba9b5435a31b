"""latency_p95: nineteen answers of twenty arrive in time."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtMost
from tunesmith.gate.rule import report_of, rows_advice, score_of
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport

__all__ = ["LatencyP95"]

_SHARE = 0.95


class LatencyP95(AtMost):
    """pass when the upper end of the interval of the 95th percentile is at most `at_most` seconds.

    Seconds are those of a request under the evaluation's own load (`evaluate.concurrency` in flight). Where even the
    slowest of the rows is no upper end, since all of them may be of the faster 95% (0.95^n above 2.5% at 95%
    confidence: fewer than 72 rows), a pass is inconclusive.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 2.0}]})

    says: ClassVar[str] = "95% of {model}'s answers are there within {value} s"

    metric: str = "latency"
    at_most: float = Field(gt=0.0, allow_inf_nan=False)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite, metric or contestant, RecipeError for a metric of the other way."""
        verdict = super().judge(report, facts)
        if verdict.outcome != "pass":
            return verdict
        score = score_of(report_of(report, self.suite), self.model, self.metric)
        fewest = math.ceil(math.log((1.0 - score.confidence) / 2.0) / math.log(_SHARE))
        missing = fewest - (score.clusters or score.n)
        if missing <= 0:
            return verdict
        reason = f"{self._figures(score)}, but all of so few may be of the faster 95%; {rows_advice(missing)}"
        return verdict.model_copy(update={"outcome": "inconclusive", "reason": reason})
