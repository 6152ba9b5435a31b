"""The schema of an eval's rows: what it accepts, and what a hostile one cannot do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tunesmith.serve.api.evals.item_schema import ItemSchema
from tunesmith.serve.failures import ApiError


def test_a_fault_names_its_place() -> None:
    schema = ItemSchema({"type": "object", "properties": {"a": {"items": {"type": "integer"}}}, "required": ["a"]})
    assert schema.fault({"a": [1, 2]}) is None
    assert schema.fault({"a": [1, "x"]}) == "item.a[1]: 'x' is not of type 'integer'"
    assert schema.fault({}) == "item: 'a' is a required property"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, "no JSON Schema"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, "pattern is not offered"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties is not offered"),
        ({"anyOf": [{"not": {"pattern": "x"}}]}, "pattern is not offered"),
        ({"$defs": {"x": {"pattern": "x"}}}, "pattern is not offered"),
    ],
)
def test_schemas_that_are_refused(schema: Any, message: str) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        ItemSchema(schema)
    assert (caught.value.status, caught.value.param) == (400, "data_source_config.item_schema")


def test_a_property_may_be_called_pattern() -> None:
    schema = ItemSchema({"properties": {"pattern": {"type": "string"}}, "const": {"pattern": "x"}})
    assert schema.fault({"pattern": "x"}) is None


@pytest.mark.parametrize("reference", ["https://example.invalid/schema.json", "file:///etc/passwd", "#/$defs/none"])
def test_nothing_is_fetched(reference: str) -> None:
    began = time.monotonic()
    assert "refers to what is not there" in str(ItemSchema({"$ref": reference}).fault({}))
    assert time.monotonic() - began < 5


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert "refers to what is not there" in str(ItemSchema({"$ref": "#"}).fault({"a": 1}))


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"not": schema}
    with pytest.raises(ApiError, match="nested more than"):
        ItemSchema(schema)
