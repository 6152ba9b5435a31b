"""size: the adapter stays small enough to be shipped and loaded."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from tunesmith.gate.rule import Reads
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import EvaluationReport

__all__ = ["Size"]


class Size(Value):
    """pass when the adapter's files take at most `megabytes` (of 1,000,000 bytes) and it has at most `parameters`.

    Give one of the two, or both.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"megabytes": 50}]})

    megabytes: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    parameters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_a_bound(self) -> Size:
        if self.megabytes is None and self.parameters is None:
            raise ValueError("give megabytes, parameters or both")
        return self

    def reads(self) -> Reads:
        """Facts of the adapter only."""
        return Reads()

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Judges the adapter's files and its trained parameters."""
        bounds = (f"{self.megabytes:g} MB" if self.megabytes else "", _counted(self.parameters))
        rule = f"size(at most {' and '.join(filter(None, bounds))})"
        if facts.adapter_bytes is None or facts.trained_parameters is None:
            return Verdict(rule=rule, outcome="inconclusive", reason="the adapter's size is not known")
        figures = f"the adapter has {facts.adapter_bytes / 1e6:,.2f} MB and {_counted(facts.trained_parameters)}"
        within = (self.megabytes is None or facts.adapter_bytes <= self.megabytes * 1e6) and (
            self.parameters is None or facts.trained_parameters <= self.parameters
        )
        return Verdict(rule=rule, outcome="pass" if within else "fail", reason=figures)


def _counted(parameters: int | None) -> str:
    return "" if parameters is None else f"{parameters:,} trained parameters"
