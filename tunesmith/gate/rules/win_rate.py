"""win_rate: a judge prefers one contestant's answers to another's."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.gate.rule import Reads, more_rows, report_of, rows_advice
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport, WinRate

__all__ = ["WinRateAtLeast"]


class WinRateAtLeast(Value):
    """pass when the lower end of the win rate's interval is at least `at_least` (0.5: as good), fail when the upper end
    is below it.

    Reads the suite's `pairwise` verdicts: every pair judged in both orders, differing verdicts are ties. A judge whose
    two verdicts agree in less than `agreement` of the pairs decides nothing: inconclusive.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"suite": "tone", "at_least": 0.5}]})

    suite: str = Field(min_length=1)
    model: str = "tuned"
    baseline: str = "prompt_only"
    at_least: float = Field(default=0.5, gt=0.0, lt=1.0)
    agreement: float = Field(default=0.5, ge=0.0, le=1.0)

    def reads(self) -> Reads:
        """The judged pairs of two contestants."""
        return Reads((), (self.model, self.baseline), None, self.suite, judged=True)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite."""
        rule = f"win_rate({self.model} over {self.baseline} at least {self.at_least:.1%} in suite {self.suite})"
        found = self._found(report_of(report, self.suite))
        if found is None or found.value is None or found.low is None or found.high is None:
            reason = f"no pair of {self.model} and {self.baseline} has two verdicts of a judge"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        agreement = found.agreement or 0.0
        unscored = f", {found.unscored} unscored" if found.unscored else ""
        figures = (
            f"{found.judge} prefers {self.model} to {self.baseline} in {found.value:.1%} of {found.n} pairs{unscored} "
            f"({found.confidence:.0%} interval {found.low:.1%} to {found.high:.1%}; {found.wins} won, "
            f"{found.ties} tied, {found.losses} lost; its two orders agree in {agreement:.0%})"
        )
        if agreement < self.agreement:
            reason = f"{figures}; a judge that agrees with itself in less than {self.agreement:.0%} decides nothing"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        if found.low >= self.at_least:
            return Verdict(rule=rule, outcome="pass", reason=figures)
        if found.high < self.at_least:
            return Verdict(rule=rule, outcome="fail", reason=figures)
        more = more_rows(found.value, self.at_least, (found.low, found.high), found.n, found.confidence)
        return Verdict(rule=rule, outcome="inconclusive", reason=f"{figures}; {rows_advice(more)}")

    def _found(self, report: EvaluationReport) -> WinRate | None:
        """The win rate of the two, turned round when the report holds it the other way."""
        for each in report.wins:
            if (each.model, each.baseline) == (self.model, self.baseline):
                return each
            if (each.model, each.baseline) == (self.baseline, self.model) and each.value is not None:
                low, high = 1.0 - (each.high or 0.0), 1.0 - (each.low or 0.0)
                turned = {"model": each.baseline, "baseline": each.model, "wins": each.losses, "losses": each.wins}
                return each.model_copy(update={**turned, "value": 1.0 - each.value, "low": low, "high": high})
        return None
