"""extraction: a text whose facts are wanted as JSON."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import JsonValue, field_validator, model_validator

from tunesmith.evaluate.item import ItemType
from tunesmith.evaluate.json_schemas import fault, validator
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Extraction"]


class Extraction(ItemType):
    """The `fields` wanted (a JSON value) and the `json_schema` that the answer must fit; at least one of them."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(name="json_schema"),
        MetricSpec(name="repair_rate"),
        MetricSpec(name="field_accuracy"),
    )

    fields: JsonValue = None
    json_schema: dict[str, Any] | None = None

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            validator(schema)
        return schema

    @model_validator(mode="after")
    def _fits(self) -> Extraction:
        if self.fields is None and self.json_schema is None:
            raise ValueError("write `fields`, `json_schema`, or both")
        if self.fields is not None and self.json_schema is not None:
            found = fault(self.fields, self.json_schema)
            if found:
                raise ValueError(f"fields: the value wanted does not fit json_schema: {found}")
        return self

    def item(self) -> Item:
        """The wanted value as JSON text is the reference."""
        expect: dict[str, JsonValue] = {}
        if self.fields is not None:
            expect["json"] = self.fields
        if self.json_schema is not None:
            expect["schema"] = self.json_schema
        reference = json.dumps(self.fields, ensure_ascii=False) if self.fields is not None else ""
        return self.asked(reference=reference, expect=expect)
