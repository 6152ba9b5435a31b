"""Kinds of fields that the Specs of several stages have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from tunesmith.types.base import Value

__all__ = ["Fraction", "MetricSpec", "PluginSpec", "Positive"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class PluginSpec(Value, extra="allow"):
    """A plugin's name and its options, for example `{name: lora, rank: 16}`."""

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All fields but `name`."""
        return dict(self.model_extra or {})


class MetricSpec(PluginSpec):
    """A metric with its options and the name its score goes by; a plain text is the metric of that name.

    `label` tells two uses of one metric apart: `{name: judge, label: tone, rubric: ...}`.
    """

    label: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @property
    def title(self) -> str:
        """What the score is called: the label, or the metric's name."""
        return self.label or self.name
