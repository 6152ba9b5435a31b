"""Every dataset format, found by listing the folder, keeps the contract of `tunesmith.prepare.format`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.prepare.detect import FOLDER
from tunesmith.prepare.format import Format

NAMES = plugins.names(FOLDER)
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
ROWS: dict[str, dict[str, Any]] = {
    "bfcl": {"question": [TURNS[:1]], "function": [WEATHER], "id": 1},
    "chat": {"messages": TURNS, "id": 1},
    "classification": {"text": "q", "label": "a", "id": 1},
    "code": {"spec": "q", "code": "a", "id": 1},
    "columns": {"prompt": "q", "completion": "a", "id": 1},
    "completion": {"prompt": "q", "completion": "a", "id": 1},
    "instruction": {"instruction": "q", "input": "", "output": "a", "id": 1},
    "kto": {"prompt": "q", "completion": "a", "label": True, "id": 1},
    "preference": {"prompt": "q", "chosen": "a", "rejected": "b", "id": 1},
    "prepared": {"source": "a.csv", "line": 2, "content": {"messages": TURNS, "metadata": {"id": "1"}}, "id": "x"},
    "prompts": {"prompt": "q", "reference": "a", "id": 1},
    "qa": {"question": "q", "answer": "a", "id": 1},
    "safety": {"prompt": "q", "refusal": "a", "id": 1},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "id": 1},
    "structured": {"input": {"user": "q"}, "output": {"answer": "a"}, "id": 1},
    "text": {"text": "q", "id": 1},
    "tool_use": {"instruction": "q", "tools": [WEATHER], "output": "a", "id": 1},
}
SAID = {
    "bfcl": [("user", "q"), ("assistant", "")],
    "structured": [("user", "q"), ("assistant", '{"answer": "a"}')],
    "text": [("text", "q")],
}
KEPT = {
    "bfcl": {"item": json.dumps(ROWS["bfcl"])},
    "prompts": {"item": '{"reference": "a", "id": 1}'},
}
ALLOWED = {
    ("bfcl", "function"): (None, "", []),
    ("classification", "label"): (3,),
    ("columns", "completion"): ([], {}, [[]], [{"role": []}], {"content": 1}),
    ("kto", "label"): (True,),
    ("prepared", "line"): (3,),
    ("structured", "output"): ({"content": 1},),
}
"""Values of the test below that mean something under this key."""


def make(name: str) -> Any:
    return plugins.load(FOLDER, name)()


def test_there_are_formats_and_each_has_a_row_here() -> None:
    assert set(NAMES) == set(ROWS)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_value_with_the_contract(name: str) -> None:
    form = make(name)
    assert isinstance(form, Format)
    assert type(form).model_validate_json(form.model_dump_json()) == form
    with pytest.raises(ValidationError):
        type(form).model_validate({"no_such_option": 1})


@pytest.mark.parametrize("name", NAMES)
def test_reads_its_own_row(name: str) -> None:
    conversation = make(name).parse(ROWS[name]).conversations[0]
    said = [(message.role, message.content) for message in conversation.messages]
    assert said == SAID.get(name, [("user", "q"), ("assistant", "a")])
    assert conversation.metadata == KEPT.get(name, {"id": "1"})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "columns"])
def test_recognises_its_own_rows_and_no_other(name: str) -> None:
    scores = {other: make(name).score(row) for other, row in ROWS.items() if other != "columns"}
    assert scores.pop(name) == 1.0
    assert set(scores.values()) == {0.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, 3, True, "", "  ", [], {}, [[]], [{"role": []}], {"content": 1}])
def test_any_value_in_any_key_is_refused_with_a_field_and_a_fix(name: str, value: object) -> None:
    form = make(name)
    for key in form.keys:
        if any(value == each and type(value) is type(each) for each in ALLOWED.get((name, key), ())):
            continue
        row = {**ROWS[name], key: value}
        assert 0.0 <= form.score(row) <= 1.0
        with pytest.raises(DataError) as caught:
            form.parse(row)
        assert all(problem.field and problem.fix for problem in caught.value.problems)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_its_keys_is_refused(name: str) -> None:
    with pytest.raises(DataError) as caught:
        make(name).parse({"other": "x"})
    wanted = {key for key in make(name).keys if None not in ALLOWED.get((name, key), ())}
    assert {problem.field for problem in caught.value.problems} >= wanted


def test_instruction_joins_the_input_and_reads_one_instance() -> None:
    form = make("instruction")
    row = {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}
    assert form.parse(row).messages[0].content == "Add.\n\n1 2"
    with pytest.raises(DataError, match="exactly one instance, is 2 of them"):
        form.parse({"instruction": "Add.", "instances": [{"output": "3"}, {"output": "4"}]})


def test_columns_and_completion_read_a_system_prompt() -> None:
    row = {"prompt": "q", "completion": "a", "system": "s"}
    columns = plugins.load(FOLDER, "columns").model_validate(
        {"prompt": "prompt", "completion": "completion", "system": "system"}
    )
    for form in (make("completion"), columns):
        assert [message.role for message in form.parse(row).messages] == ["system", "user", "assistant"]
