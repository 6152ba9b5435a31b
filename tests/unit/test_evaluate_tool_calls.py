"""Tool calls against what is wanted, by hand, after BFCL's AST check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.evaluate.scoring import score
from tunesmith.evaluate.tool_calls import Called, all_match, fault
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

AREA = {
    "type": "object",
    "properties": {
        "base": {"type": "integer"},
        "height": {"type": "number"},
        "unit": {"type": "string"},
        "points": {"type": "array", "items": {"type": "number"}},
        "style": {"type": "object"},
    },
    "required": ["base", "height"],
}
WANTED = {
    "name": "area",
    "arguments": {
        "base": [10],
        "height": [5],
        "unit": ["square cm", "cm2"],
        "points": [[1, 2.5]],
        "style": [{"a": ["x"]}],
    },
    "optional": ["unit", "points", "style"],
}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"base": 10, "height": 5}, None),
        ({"base": 10, "height": 5.0}, None),  # an integer is a number
        ({"base": 10.0, "height": 5}, "types"),  # and a float is no integer
        ({"base": "10", "height": 5}, "types"),
        ({"base": True, "height": 5}, "types"),
        ({"base": 10}, "required"),
        ({"base": 10, "height": 5, "colour": "red"}, "unexpected"),
        ({"base": 10, "height": 6}, "values"),
        ({"base": 10, "height": 5, "unit": "Square-CM"}, None),
        ({"base": 10, "height": 5, "unit": "m"}, "values"),
        ({"base": 10, "height": 5, "points": [1.0, 2.5]}, None),
        ({"base": 10, "height": 5, "points": [2.5, 1]}, "values"),
        ({"base": 10, "height": 5, "points": ["1", 2.5]}, "values"),
        ({"base": 10, "height": 5, "style": {"a": ["x"]}}, None),
        ({"base": 10, "height": 5, "style": {"a": "x"}}, "values"),
        (None, "required"),
    ],
)
def test_the_first_fault_by_hand(arguments: dict[str, Any] | None, found: str | None) -> None:
    assert fault(Called("area", arguments), WANTED, AREA) == found


def test_stages_stop_where_they_are_told() -> None:
    wrong = Called("area", {"base": 1, "height": "x"})
    stages = [fault(wrong, WANTED, AREA, until) for until in ("name", "required", "types", "values")]
    assert stages == [None, None, "types", "types"]
    assert fault(Called("volume", {}), WANTED, AREA, "name") == "name"
    assert fault(Called("area", {"base": 10, "height": 5, "unit": "CM2"}), WANTED, AREA, exact=True) == "values"


def test_an_argument_that_is_wanted_and_not_optional_must_be_there() -> None:
    assert fault(Called("f", {}), {"name": "f", "arguments": {"a": [1]}}, {}) == "missing"


def test_nested_lists_hold_the_right_values_of_each_key() -> None:
    wanted = {"name": "f", "arguments": {"w": [{"school": ["BHS", "Bluebird HS"], "year": [1, ""]}]}, "nested": True}
    assert fault(Called("f", {"w": {"school": "bluebird hs"}}), wanted, {}) is None
    assert fault(Called("f", {"w": {"school": "BHS", "year": 2}}), wanted, {}) == "values"
    assert fault(Called("f", {"w": {"year": 1}}), wanted, {}) == "values"


def test_parallel_calls_are_matched_in_any_order_each_once() -> None:
    wanted = [{"name": "f", "arguments": {"a": [1, 2]}}, {"name": "f", "arguments": {"a": [1]}}]
    one, two = Called("f", {"a": 1}), Called("f", {"a": 2})
    assert all_match([one, two], wanted, {})  # taking the first that fits would give 1 to the first wanted call
    assert all_match([two, one], wanted, {})
    assert not all_match([two, two], wanted, {})
    assert not all_match([one], wanted, {})
    assert all_match([], [], {})


def row(expect: dict[str, Any], *calls: tuple[str, str]) -> Prediction:
    return Prediction(
        example_id="x", reference="", answer="", label=None, tokens=1, seconds=0.1, first_token_seconds=0.1,
        finish_reason="stop", expect=expect, calls=tuple({"name": name, "arguments": text} for name, text in calls),
    )  # fmt: skip


def test_the_metrics_by_hand() -> None:
    expect = {"calls": [WANTED], "tools": [{"type": "function", "function": {"name": "area", "parameters": AREA}}]}
    right = json.dumps({"base": 10, "height": 5})
    rows = [
        row(expect, ("area", right)),
        row(expect, ("area", right), ("area", '{"base": 1, "height": 1}')),
        row(expect, ("area", "{not json")),
        row(expect, ("volume", right)),
        row(expect),
        row({"calls": [], "tools": expect["tools"]}),
        row({}),
    ]
    match = score("tool_call_match", rows, (), 0.95)
    assert match.value == pytest.approx(2 / 6)  # the first, and the one that rightly calls nothing
    assert match.unscored == 1
    until = MetricSpec.model_validate({"name": "tool_call_match", "until": "name"})
    assert score(until, rows, (), 0.95).value == pytest.approx(3 / 6)
    valid = score("tool_schema_success", rows, (), 0.95)
    assert valid.value == pytest.approx(3 / 5)  # of five calls, one is no JSON and one names no tool
    assert (valid.n, valid.unscored) == (4, 3)
