"""max_invalid: answers that are none of the known labels stay rare."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtMost

__all__ = ["MaxInvalid"]


class MaxInvalid(AtMost):
    """pass when the upper end of the invalid rate's interval is at most `at_most`, fail when the lower end is above it.

    `at_most` is above 0: no finite number of rows proves that an invalid answer never happens.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "tuned", "at_most": 0.05}]})

    says: ClassVar[str] = "{value} of {model}'s answers are no known label"
    unscored: ClassVar[str] = "the dataset has no known labels, so no answer can be invalid"

    metric: str = "invalid_rate"
    at_most: float = Field(default=0.05, gt=0.0, le=1.0)
