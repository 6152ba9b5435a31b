"""no_regression: one contestant is not worse than another by more than a margin, on the same rows."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.gate.paired import NotWorse

__all__ = ["NoRegression"]


class NoRegression(NotWorse):
    """Non-inferiority (CONSORT, Piaggio et al. 2012): pass when the paired interval rules out a loss beyond `margin`.

    A difference that is not significant is no proof of equality: few rows are inconclusive here, never a pass. `margin`
    is in points of a share, for plain numbers such as perplexity a share of the baseline's value.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"metric": "accuracy", "model": "tuned", "baseline": "prompt_only", "margin": 0.02}]
        }
    )

    metric: str = "accuracy"
    baseline: str = "prompt_only"
    margin: float = Field(default=0.02, gt=0.0, allow_inf_nan=False)
