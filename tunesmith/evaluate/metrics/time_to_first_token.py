"""time_to_first_token: how long the first token of an answer takes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tunesmith.evaluate.percentiles import PercentileOfSeconds
from tunesmith.types.report import Prediction

__all__ = ["TimeToFirstToken"]


class TimeToFirstToken(PercentileOfSeconds):
    """A percentile of the seconds from a request to the first token of its answer.

    The smallest measured time that `percentile` percent of the rows do not exceed: of 1, 2, 3, 9 seconds the 50th is 2,
    the 95th is 9. Measured by the client, with as many requests in flight as the evaluation had.
    """

    meaning: ClassVar[str] = "seconds until an answer begins: the median, or another percentile (lower is better)"

    percentile: float = Field(default=50.0, gt=0.0, le=100.0)

    def seconds_of(self, row: Prediction) -> float:
        """To the first token."""
        return row.first_token_seconds
