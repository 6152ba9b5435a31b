"""forgetting: what the base could do on general questions, the tuned model still can."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tunesmith.gate.paired import NotWorse

__all__ = ["Forgetting"]


class Forgetting(NotWorse):
    """pass when the paired interval on `suite` rules out that `model` lost `margin` or more against `baseline`.

    For perplexity `margin` is a share of the baseline's value (0.05: five percent more), for multiple choice and other
    shares it is in points (0.05: five points fewer).
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"suite": "general", "metric": "perplexity", "margin": 0.05}]}
    )

    metric: str = "perplexity"
    baseline: str = "base"
    margin: float = Field(default=0.05, gt=0.0, allow_inf_nan=False)
    suite: str = Field(default="general", min_length=1)
