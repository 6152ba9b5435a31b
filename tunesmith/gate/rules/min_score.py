"""min_score: a metric of one contestant reaches a level, with certainty and not by luck."""

from __future__ import annotations

from pydantic import ConfigDict

from tunesmith.gate.bound import AtLeast

__all__ = ["MinScore"]


class MinScore(AtLeast):
    """pass when the lower end of the metric's interval is at least `at_least`, fail when the upper end is below it.

    In between the rows do not tell: inconclusive. For metrics where higher is better.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"metric": "accuracy", "model": "tuned", "at_least": 0.85}]}
    )

    metric: str = "accuracy"
