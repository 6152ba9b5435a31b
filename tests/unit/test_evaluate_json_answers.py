"""JSON in answers: strictly, repaired, against a schema, field by field; all by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.json_answers import read_json, repaired
from tunesmith.evaluate.json_schemas import fault
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"status": {"enum": ["open", "closed"]}, "ids": {"type": "array", "items": {"type": "integer"}}},
    "required": ["status"],
    "additionalProperties": False,
}


def row(answer: str, **expect: Any) -> Prediction:
    return Prediction(
        example_id="x", reference="", answer=answer, label=None, tokens=1, seconds=0.1, first_token_seconds=0.1,
        finish_reason="stop", expect=expect,
    )  # fmt: skip


def value(spec: str | dict[str, Any], *rows: Prediction) -> float | None:
    return score(MetricSpec.model_validate(spec), rows, (), 0.95).value


@pytest.mark.parametrize(
    ("text", "found", "repairs"),
    [
        ('{"a": [1, 2.5e1, -0, true, null]}', {"a": [1, 25.0, 0, True, None]}, set()),
        ('```json\n{"a": 1}\n```', {"a": 1}, {"code_fence"}),
        ('Here:\n```\n{"a": 1}\n```\nBye', {"a": 1}, {"code_fence", "surrounding_text"}),
        ('Sure! {"a": 1} Anything else?', {"a": 1}, {"surrounding_text"}),
        ('{"a": 1} ok', {"a": 1}, {"surrounding_text"}),
        ("{'a': 'it\\'s \"so\"'}", {"a": 'it\'s "so"'}, {"single_quotes"}),
        ("{a: 1, b_2: \u201cx\u201d}", {"a": 1, "b_2": "x"}, {"bare_names", "single_quotes"}),
        ('{"a": True, "b": None}', {"a": True, "b": None}, {"python_words"}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, {"trailing_comma"}),
        ('{"a": "x\ny"}', {"a": "x\ny"}, {"raw_control"}),
        ('{"a": 1 /* one */} // end', {"a": 1}, {"comments"}),
        ("Steps [one] then {'a': 1,}", {"a": 1}, {"surrounding_text", "single_quotes", "trailing_comma"}),
        ("[]", [], set()),
        ('"text"', "text", set()),
    ],
)
def test_repairs_by_hand(text: str, found: Any, repairs: set[str]) -> None:
    first = next(repaired(text))
    assert first.value == found
    assert first.repairs == repairs
    assert (not repairs) == (_strict(text) == found)


def _strict(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return "no JSON"


@pytest.mark.parametrize(
    "text",
    ["", "words only", '{"a": 1', '{"a": 1 "b": 2}', '{"a": NaN}', '{"a": [1, 2}', '{"a" 1}', "{'a", "12 apples"],
)
def test_what_no_repair_helps(text: str) -> None:
    assert not list(repaired(text))
    assert _strict(text) == "no JSON"


def test_hostile_nesting_ends() -> None:
    deep = "[" * 100_000
    assert not list(repaired(deep))
    assert _strict(deep) == "no JSON"


def test_the_three_shares_add_up_to_one() -> None:
    answers = [
        '{"status": "open"}',
        '```json\n{"status": "open"}\n```',
        "{'status': 'shut'}",
        "open",
        '{"status": "ope',
    ]
    rows = [row(answer, schema=SCHEMA) for answer in answers]
    assert value("json_schema", *rows) == pytest.approx(1 / 5)
    assert value("repair_rate", *rows) == pytest.approx(1 / 5)  # the fence; a wrong value is not repaired
    assert value("unrepairable_rate", *rows) == pytest.approx(3 / 5)


def test_a_later_piece_may_fit_where_the_first_does_not() -> None:
    rows = [row('Given [1], I say {"status": "open"}', schema=SCHEMA)]
    assert value("repair_rate", *rows) == 1.0


def test_rows_without_a_schema() -> None:
    assert value("json_schema", row("x")) is None
    assert value("json_schema", row("[1]", json=[1]), row("x", json=[1])) == 0.5
    assert value({"name": "json_schema", "against": SCHEMA}, row('{"status": "open"}'), row("{}")) == 0.5


def test_a_schema_that_is_none_is_named() -> None:
    with pytest.raises(EvaluationError, match=r"expected of x cannot be used.*\$\.type"):
        value("json_schema", row("{}", schema={"type": "nonsense"}))


def test_nothing_is_fetched() -> None:
    assert "not there" in str(fault({}, {"$ref": "https://example.invalid/schema.json"}))


WANTED = {"name": "Ann", "age": 30, "address": {"city": "Oslo", "zip": None}, "tags": ["a", "B"]}


@pytest.mark.parametrize(
    ("answer", "options", "share"),
    [
        ('{"name": "Ann", "age": 30.0, "address": {"city": "Rome", "zip": null}, "tags": ["a", "B"]}', {}, 4 / 5),
        ('{"name": "ann", "age": true, "tags": ["B", "a"]}', {}, 0.0),
        ('{"name": "ann", "age": true, "tags": ["b", "a"]}', {"ignore_case": True, "any_order": True}, 2 / 5),
        ("{'name': 'Ann'}", {}, 0.0),
        ("{'name': 'Ann'}", {"repair": True}, 1 / 5),
        ('{"address": {"city": "Oslo"}}', {"fields": ["address"]}, 1 / 2),
        ('{"address": {"city": "Oslo"}}', {"fields": ["address.city"]}, 1.0),
        ("[1]", {}, 0.0),
    ],
)
def test_field_accuracy_by_hand(answer: str, options: dict[str, Any], share: float) -> None:
    assert value({"name": "field_accuracy", **options}, row(answer, json=WANTED)) == pytest.approx(share)


def test_field_accuracy_is_over_fields_not_rows() -> None:
    rows = [row('{"a": 1, "b": 2, "c": 0}', json={"a": 1, "b": 2, "c": 3}), row("{}", json={"a": 1}), row("{}")]
    found = score("field_accuracy", rows, (), 0.95)
    assert found.value == pytest.approx(2 / 4)
    assert (found.n, found.unscored) == (2, 1)
