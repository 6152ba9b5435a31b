"""Grammars for tool calls, judged by llguidance on a byte tokenizer and by jsonschema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.backends._grammar import Grammars
from tunesmith.engine.engine import Constraint
from tunesmith.errors import RequestRefused
from tunesmith.models.template import Renderer
from tunesmith.serve.answering.ask import Ask, Function, ToolChoice
from tunesmith.serve.answering.grammar import constraints_of
from tunesmith.types.conversation import Message
from tunesmith.types.tool_syntax import Part, ToolSyntax

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Pune", "Delhi"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Function(name="weather", parameters=CITY, strict=True)
TIME = Function(name="time")
ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Pune"}}\n</tool_call>'
NOW = '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
WRONG = ONE.replace("Pune", "Rome")


@pytest.fixture(scope="module")
def renderer(tiny: Path) -> Renderer:
    return Renderer(tiny)


@pytest.fixture(scope="module")
def grammars(renderer: Renderer) -> Grammars:
    return Grammars(renderer.tokenizer_json(), 259, renderer.stop_ids)


def ask(**changes: Any) -> Ask:
    messages = (Message(role="user", content="?"),)
    return Ask(**{"model": "base", "messages": messages, "tools": (WEATHER, TIME), **changes})


def takes(grammars: Grammars, renderer: Renderer, asked: Ask, text: str, syntax: ToolSyntax | None = None) -> bool:
    (constraint, *_) = constraints_of(asked, syntax or renderer.tool_syntax)
    assert constraint is not None
    matcher = grammars.matcher(constraint)
    ids = list(renderer.answer_ids(text)[:-1])
    return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())


def choice(mode: str, *names: str) -> ToolChoice:
    return ToolChoice.model_validate({"mode": mode, "names": names or None})


FORM = Constraint(kind="json_schema", source='{"enum": ["yes"]}')
CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (
        {"choice": choice("required")},
        [ONE, NOW, f"{ONE}\n{NOW}", f"{NOW}\n{NOW}\n{ONE}"],
        ["", "hi", f"hi {ONE}", WRONG, f"{ONE}\nhi"],
    ),
    ({"choice": choice("required"), "parallel": False}, [ONE, NOW], [f"{ONE}\n{NOW}"]),
    ({"choice": choice("named", "time")}, [NOW], [ONE, f"{NOW}\n{NOW}", NOW.replace("{}}", '{"a": 1}}')]),
    ({"choice": choice("required", "time")}, [NOW, f"{NOW}\n{NOW}"], [ONE]),
    ({}, ["", "hi", "a < b", f"hi\n{ONE}", ONE, f"{ONE}\n{NOW}"], [WRONG, "hi <tool_call>", f"{ONE} hi"]),
    ({"parallel": False}, ["hi", ONE], [f"{ONE}\n{NOW}"]),
    ({"choice": choice("auto", "time")}, ["hi", NOW], [ONE]),
    ({"form": FORM}, ['"yes"', ONE], ["hi", f"hi {ONE}", WRONG]),
]


@pytest.mark.parametrize(("changes", "valid", "invalid"), CASES, ids=range(len(CASES)))
def test_what_may_be_said(
    grammars: Grammars, renderer: Renderer, changes: dict[str, Any], valid: list[str], invalid: list[str]
) -> None:
    for text in valid:
        assert takes(grammars, renderer, ask(**changes), text), text
    for text in invalid:
        assert not takes(grammars, renderer, ask(**changes), text), text


def test_nothing_binds_what_nobody_asked_to_bind(renderer: Renderer) -> None:
    assert constraints_of(ask(tools=(TIME,)), renderer.tool_syntax) == (None,)
    assert constraints_of(ask(tools=()), None) == (None,)
    assert constraints_of(ask(choice=choice("none"), form=FORM), None) == (FORM,)


def test_special_tokens_and_ids_of_calls(grammars: Grammars, renderer: Renderer) -> None:
    listed = ToolSyntax(
        opening=(Part(token=1), Part(text='[{"name": "')),
        middle=(Part(text='", "arguments": '),),
        between=None,
        closing=(Part(text=', "id": "'), Part(call_id=True), Part(text='"}]')),
    )
    said = '[{"name": "time", "arguments": {}, "id": "abcdefghi"}]'
    for mode in ("required", "auto"):
        asked = ask(choice=choice(mode))
        assert takes(grammars, renderer, asked, f"<|im_start|>{said}", listed)
        assert not takes(grammars, renderer, asked, f"<|im_start|>{said.replace('abcdefghi', 'ab')}", listed)
    assert takes(grammars, renderer, ask(), f"Well. <|im_start|>{said}", listed)


def test_a_schema_that_cannot_be_enforced_gives_way_only_where_it_is_not_strict(
    grammars: Grammars, renderer: Renderer
) -> None:
    odd = {"type": "array", "uniqueItems": True}
    parameters = {"type": "object", "properties": {"a": odd}}
    loose = Function(name="loose", parameters=parameters)
    exact, second = constraints_of(ask(tools=(loose, WEATHER), choice=choice("required")), renderer.tool_syntax)
    assert exact is not None
    assert second is not None
    with pytest.raises(RequestRefused, match="uniqueItems"):
        grammars.matcher(exact)
    grammars.matcher(second)
    assert '"Pune"' in second.source  # the strict one keeps its schema
    strict = loose.model_copy(update={"strict": True})
    assert len(constraints_of(ask(tools=(strict,), choice=choice("required")), renderer.tool_syntax)) == 1
