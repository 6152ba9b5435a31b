"""cost: a request stays within its price."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtMost

__all__ = ["Cost"]


class Cost(AtMost):
    """pass when the upper end of the interval of the mean is at most `at_most`, in the currency of the prices."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 0.002}]})

    says: ClassVar[str] = "a request to {model} costs {value} on average"

    metric: str = "cost_per_request"
    at_most: float = Field(gt=0.0, allow_inf_nan=False)
