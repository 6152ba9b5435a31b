"""tokens_per_answer: answers stay short, in tokens or beside another contestant's."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, model_validator

from tunesmith.gate.bound import AtMost
from tunesmith.gate.paired import paired
from tunesmith.gate.rule import Reads, SliceName, more_rows, place, report_of, rows_advice, score_of
from tunesmith.types.base import Value
from tunesmith.types.decision import Outcome, Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport

__all__ = ["TokensPerAnswer"]

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Mean(AtMost):
    """The mean against a number of tokens."""

    says: ClassVar[str] = "{model} answers with {value} tokens on average"


class TokensPerAnswer(Value):
    """pass when the upper end of the interval of the mean is at most `at_most` tokens.

    Or, with `below` (0.1: a tenth), when the paired interval of the relative saving against `baseline` on the same rows
    begins at `below` or above, and ends at `below_at_most` (0.25: a quarter) or below where that is given, since
    answers that are far too short lack something. Read it beside a rule that the answers are as good.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 60}]})

    metric: str = "tokens_per_answer"
    model: str = "tuned"
    at_most: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    below: Share | None = None
    below_at_most: Share | None = None
    baseline: str | None = None
    suite: str = ""
    slice: SliceName = ""

    @model_validator(mode="after")
    def _is_one_bound(self) -> TokensPerAnswer:
        if (self.at_most is None) == (self.below is None):
            raise ValueError("give either at_most (tokens) or below (a share of the baseline's tokens)")
        if self.below_at_most is not None and (self.below is None or self.below_at_most <= self.below):
            raise ValueError("below_at_most must be above below")
        if self.below is None and self.baseline is not None:
            raise ValueError("baseline belongs to below; at_most holds one contestant against a number of tokens")
        return self

    @property
    def _beside(self) -> str:
        return self.baseline or "prompt_only"

    def reads(self) -> Reads:
        """One metric of one contestant, or of two."""
        contestants = (self.model,) if self.below is None else (self.model, self._beside)
        return Reads((self.metric,), contestants, "lower", self.suite, slice=self.slice)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite, metric or contestant."""
        if self.at_most is not None:
            shared = {"metric": self.metric, "model": self.model, "suite": self.suite, "slice": self.slice}
            return _Mean.model_validate({**shared, "at_most": self.at_most}).judge(report, facts)
        found = report_of(report, self.suite)
        gain = paired(found, self.metric, self.model, self._beside)
        where = place(self.suite, self.slice)
        rule = f"tokens_per_answer({self.model} {self._wanted()} below {self._beside}{where})"
        pair = gain.pair if gain else None
        if pair is None or pair.relative is None or pair.relative_low is None or pair.relative_high is None:
            reason = f"no tokens of {self.model} and {self._beside} were compared on the same rows"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        saved, low, high = -pair.relative, -pair.relative_high, -pair.relative_low
        ours, theirs = (score_of(found, name, self.metric).value or 0.0 for name in (self.model, self._beside))
        figures = (
            f"{self.model} answers with {abs(saved):.1%} {'fewer' if saved >= 0 else 'more'} tokens than "
            f"{self._beside} ({ours:.3g} and {theirs:.3g}) on the same {pair.n} rows ({pair.confidence:.0%} interval "
            f"of the saving {low:.1%} to {high:.1%})"
        )
        outcome, border = self._outcome(low, high, saved)
        if outcome == "inconclusive":
            figures += f"; {rows_advice(more_rows(saved, border, (low, high), pair.n, pair.confidence))}"
        return Verdict(rule=rule, outcome=outcome, reason=figures)

    def _wanted(self) -> str:
        least = f"{100 * (self.below or 0.0):.3g}%"
        return f"{least} or more" if self.below_at_most is None else f"{least} to {100 * self.below_at_most:.3g}%"

    def _outcome(self, low: float, high: float, saved: float) -> tuple[Outcome, float]:
        """The outcome, and the border that the interval is nearest to."""
        least = self.below or 0.0
        most = self.below_at_most if self.below_at_most is not None else 1.0
        nearer = self.below_at_most is not None and abs(saved - most) < abs(saved - least)
        border = most if nearer else least
        if low >= least and high <= most:
            return "pass", border
        return "fail" if high < least or low > most else "inconclusive", border
