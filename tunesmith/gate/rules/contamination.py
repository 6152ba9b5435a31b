"""contamination: what the model is evaluated on was not trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tunesmith.gate.rule import Reads
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts, Leak
from tunesmith.types.report import EvaluationReport

__all__ = ["Contamination"]


class Contamination(Value):
    """pass when at most `at_most` (a share) of the evaluated rows ask what a training row asks, else fail.

    `compared`: near counts rows in one cluster of near duplicates with a training row, normalised those with the same
    prompt after case folding and white space. Rows are counted, not sampled: inconclusive only where nobody looked.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 0.0, "compared": "near"}]})

    at_most: float = Field(default=0.0, ge=0.0, lt=1.0)
    compared: Literal["near", "normalised"] = "near"
    suite: str = ""

    @model_validator(mode="after")
    def _can_be_known(self) -> Contamination:
        if self.suite and self.compared == "near":
            raise ValueError(
                "near duplicates are looked for among the dataset's rows; with a suite, write compared: normalised"
            )
        return self

    def reads(self) -> Reads:
        """Facts of the data; the report only for its suites."""
        return Reads(suite=self.suite)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Judges the counts of the split that was evaluated, or of the suite."""
        where = self.suite or report.split
        rule = f"contamination(at most {self.at_most:.1%} of {where})"
        found = next((leak for leak in facts.leaks or () if leak.where == where), None)
        if found is None or not found.rows:
            reason = f"nobody compared the rows of {where} with the training rows; prepare the dataset again"
            return Verdict(rule=rule, outcome="inconclusive", reason=reason)
        shared = found.normalised if self.compared == "normalised" or found.near is None else found.near
        figures = f"{shared} of the {found.rows} rows of {where} ask what a training row asks ({_detail(found)})"
        if shared / found.rows > self.at_most:
            return Verdict(rule=rule, outcome="fail", reason=f"{figures}, more than {self.at_most:.1%}")
        if self.compared == "near" and found.near is None:
            asked = f"{figures}, and near duplicates were not looked for; `compared: normalised` judges without them"
            return Verdict(rule=rule, outcome="inconclusive", reason=asked)
        return Verdict(rule=rule, outcome="pass", reason=figures)


def _detail(leak: Leak) -> str:
    near = "not looked for nearly" if leak.near is None else f"{leak.near} nearly"
    exact = "" if leak.exact is None else f"{leak.exact} exactly, "
    return f"{exact}{leak.normalised} normalised, {near}"
