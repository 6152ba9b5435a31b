"""Every dataset format, found by listing the folder, keeps the contract of `tunesmith.prepare.format`."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.prepare.detect import FOLDER
from tunesmith.prepare.format import Format

NAMES = plugins.names(FOLDER)
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
ROWS: dict[str, dict[str, Any]] = {
    "chat": {"messages": TURNS, "extra": 1},
    "columns": {"prompt": "q", "completion": "a", "extra": 1},
    "completion": {"prompt": "q", "completion": "a", "extra": 1},
    "instruction": {"instruction": "q", "input": "", "output": "a", "extra": 1},
    "kto": {"prompt": "q", "completion": "a", "label": True, "extra": 1},
    "preference": {"prompt": "q", "chosen": "a", "rejected": "b", "extra": 1},
    "prompts": {"prompt": "q", "reference": "a", "extra": 1},
}


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
    assert [(message.role, message.content) for message in conversation.messages] == [("user", "q"), ("assistant", "a")]
    kept = {"item": '{"reference": "a", "extra": 1}'} if name == "prompts" else {"extra": "1"}
    assert conversation.metadata == kept


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
        if key == "label" and value is True:
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
    assert {problem.field for problem in caught.value.problems} >= set(make(name).keys)


def test_instruction_joins_the_input_and_reads_one_instance() -> None:
    form = make("instruction")
    row = {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}
    assert form.parse(row).messages[0].content == "Add.\n\n1 2"
    with pytest.raises(DataError, match="exactly one instance, is 2 of them"):
        form.parse({"instruction": "Add.", "instances": [{"output": "3"}, {"output": "4"}]})
    with pytest.raises(DataError, match="history: earlier turns"):
        form.parse({"instruction": "a", "output": "b", "history": [["x", "y"]]})


def test_columns_and_completion_read_a_system_prompt() -> None:
    row = {"prompt": "q", "completion": "a", "system": "s"}
    columns = plugins.load(FOLDER, "columns").model_validate(
        {"prompt": "prompt", "completion": "completion", "system": "system"}
    )
    for form in (make("completion"), columns):
        assert [message.role for message in form.parse(row).messages] == ["system", "user", "assistant"]
