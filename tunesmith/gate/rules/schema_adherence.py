"""schema_adherence: answers follow their JSON Schema."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from tunesmith.gate.bound import AtLeast

__all__ = ["SchemaAdherence"]


class SchemaAdherence(AtLeast):
    """pass when the lower end of the interval of the share of valid answers is at least `at_least`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_least": 0.99}]})

    says: ClassVar[str] = "{value} of {model}'s answers follow their schema"

    metric: str = "json_schema"
    at_least: float = Field(default=0.99, gt=0.0, lt=1.0)
