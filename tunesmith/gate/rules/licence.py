"""licence: every training row has a licence that is allowed."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from tunesmith.gate.rule import Reads
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport

__all__ = ["Licence"]


class Licence(Value):
    """pass when all training rows have a licence in `allowed` (SPDX identifiers), fail when one has another.

    Rows that name none are inconclusive: what nobody wrote down is not known. The step `licences` of `prepare.steps`
    brings spellings to their identifier and gives rows without one a `default`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"allowed": ["Apache-2.0", "CC-BY-4.0", "MIT"]}]})

    allowed: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)

    def reads(self) -> Reads:
        """Facts of the data only."""
        return Reads()

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Judges the licences that prepare carried along."""
        rule = f"licence(one of {', '.join(self.allowed)})"
        if facts.licences is None:
            return Verdict(rule=rule, outcome="inconclusive", reason="the licences of the training rows are not known")
        allowed = {each.casefold() for each in self.allowed}
        other = {each: rows for each, rows in facts.licences.items() if each and each.casefold() not in allowed}
        if other:
            listed = ", ".join(f"{rows:,} of {each}" for each, rows in other.items())
            return Verdict(rule=rule, outcome="fail", reason=f"training rows have licences beyond these: {listed}")
        rows = sum(facts.licences.values())
        if nameless := facts.licences.get("", 0):
            asked = (
                f"{nameless:,} of {rows:,} training rows name no licence; say it in the rows' field `license`, or for "
                "all with prepare.steps: [{name: licences, default: ...}]"
            )
            return Verdict(rule=rule, outcome="inconclusive", reason=asked)
        listed = ", ".join(f"{count:,} of {each}" for each, count in facts.licences.items())
        return Verdict(
            rule=rule, outcome="pass", reason=f"all {rows:,} training rows have an allowed licence ({listed})"
        )
