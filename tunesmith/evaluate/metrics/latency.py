"""latency: how long a whole answer takes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tunesmith.evaluate.percentiles import PercentileOfSeconds
from tunesmith.types.report import Prediction

__all__ = ["Latency"]


class Latency(PercentileOfSeconds):
    """A percentile of the seconds from a request to the end of its answer.

    The smallest measured time that `percentile` percent of the rows do not exceed: of 1, 2, 3, 9 seconds the 50th is 2,
    the 95th is 9. Measured by the client, with as many requests in flight as the evaluation had.
    """

    meaning: ClassVar[str] = (
        "seconds until an answer is complete: the 95th percentile, or another one (lower is better)"
    )

    percentile: float = Field(default=95.0, gt=0.0, le=100.0)

    def seconds_of(self, row: Prediction) -> float:
        """To the end of the answer."""
        return row.seconds
