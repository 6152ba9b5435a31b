"""citations: answers cite the contexts that they should."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtLeast

__all__ = ["Citations"]


class Citations(AtLeast):
    """pass when the lower end of the citation accuracy's interval is at least `at_least`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_least": 0.95}]})

    says: ClassVar[str] = "{value} of {model}'s citations are right"

    metric: str = "citation_accuracy"
    at_least: float = Field(default=0.95, gt=0.0, lt=1.0)
