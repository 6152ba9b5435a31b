"""Kinds of fields that the Specs of several stages have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tunesmith.types.base import Value

__all__ = ["Fraction", "PluginSpec", "Positive"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class PluginSpec(Value, extra="allow"):
    """A plugin's name and its options, for example `{name: lora, rank: 16}`."""

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All fields but `name`."""
        return dict(self.model_extra or {})
