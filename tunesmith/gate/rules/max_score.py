"""max_score: a metric of one contestant, where lower is better, stays within a level."""

from __future__ import annotations

from pydantic import ConfigDict

from tunesmith.gate.bound import AtMost

__all__ = ["MaxScore"]


class MaxScore(AtMost):
    """pass when the upper end of the metric's interval is at most `at_most`, fail when the lower end is above it.

    In between the rows do not tell: inconclusive. For metrics where lower is better.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"metric": "perplexity", "model": "tuned", "at_most": 1.5}]}
    )

    metric: str = "perplexity"
