"""latency_p95: nineteen answers of twenty arrive in time."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtMost

__all__ = ["LatencyP95"]


class LatencyP95(AtMost):
    """pass when the upper end of the interval of the 95th percentile is at most `at_most` seconds.

    Seconds are those of a request under the evaluation's own load (`evaluate.concurrency` in flight).
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 2.0}]})

    says: ClassVar[str] = "95% of {model}'s answers are there within {value} s"

    metric: str = "latency"
    at_most: float = Field(gt=0.0, allow_inf_nan=False)
