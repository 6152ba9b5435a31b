"""Templates are filled as OpenAI's graders fill them; what could never be filled is refused when the grader is made."""

from __future__ import annotations

import pytest

from tunesmith.grade.grader import Sample
from tunesmith.grade.placeholders import Unresolved, check, fill

SAMPLE = Sample(output_text='{"k": [1, "two"]}', output_tools=({"function": {"name": "pay"}},)).namespace()
ITEM = {"x": {"y": "deep", "n": 1.5, "none": None}, "list": ["a", {"b": "c"}], "sly": "{{item.x.y}}"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{item.x.y}}", "deep"),
        ("{{ item.x.y }} and {{item.x.n}}", "deep and 1.5"),
        ("{{item.x.none}}", "null"),
        ("{{item.list[1].b}}{{item.list.0}}", "ca"),
        ("{{item.list}}", '["a", {"b": "c"}]'),
        ("{{sample.output_text}}", '{"k": [1, "two"]}'),
        ("{{sample.output_json.k[1]}}", "two"),
        ("{{sample.output_tools[0].function.name}}", "pay"),
        ("{{item.sly}}", "{{item.x.y}}"),  # what is put in is not a template
        ("no {placeholders} here }}", "no {placeholders} here }}"),
    ],
)
def test_filling(template: str, text: str) -> None:
    assert fill(check(template), SAMPLE, ITEM) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{item.nope}}", "no 'nope'; there are: x, list, sly"),
        ("{{item.list[7]}}", "no 7"),
        ("{{item.x.y.z}}", "no 'z'; there is nothing"),
        ("{{sample.output_json.missing}}", "no 'missing'"),
    ],
)
def test_what_the_row_lacks(template: str, message: str) -> None:
    with pytest.raises(Unresolved, match=message):
        fill(check(template), SAMPLE, ITEM)


def test_an_answer_that_is_no_json_has_no_fields() -> None:
    with pytest.raises(Unresolved, match="the answer is no JSON") as caught:
        fill("{{sample.output_json.k}}", Sample(output_text="plain").namespace(), {})
    assert caught.value.kind == "sample_parse_error"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{itm.x}}", "is no placeholder"),
        ("{{item}}", "is no placeholder"),
        ("{{ }}", "is no placeholder"),
        ("{{sample.text}}", "sample has no 'text'; it has: output_text, output_json, output_tools"),
    ],
)
def test_what_could_never_be_filled(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(template)
