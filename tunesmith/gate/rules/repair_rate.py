"""repair_rate: answers that must be repaired before a program can read them stay rare."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtMost

__all__ = ["RepairRate"]


class RepairRate(AtMost):
    """pass when the upper end of the repair rate's interval is at most `at_most`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_most": 0.03}]})

    says: ClassVar[str] = "{value} of {model}'s answers are valid only after a repair"

    metric: str = "repair_rate"
    at_most: float = Field(default=0.03, gt=0.0, le=1.0)
