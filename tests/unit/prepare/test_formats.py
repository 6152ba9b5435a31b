"""Each format: the row it is known by, what the row means, and what is wrong with rows that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import pytest

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.prepare.detect import FOLDER, choose_format
from tunesmith.prepare.format import Format
from tunesmith.prepare.table import Row
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import DroppedRow, Example
from tunesmith.types.preference import Labelled, Preference, Prompt, Text
from tunesmith.types.preference import Row as Content
from tunesmith.types.recipe import SourceSpec

WEATHER = {"name": "weather", "description": "w", "parameters": {"type": "dict", "properties": {"at": {"type": "any"}}}}
CALL = {"name": "weather", "arguments": {"at": "Pune"}}
DOCUMENTS = [{"id": "d1", "text": "Fees are 2%."}, {"id": "d2", "text": "Cards are free."}]


def stored(**content: Any) -> dict[str, Any]:
    """A line of a stored dataset."""
    return {"id": "0", "source": "a.csv", "line": 3, "content": content, "sizes": [2]}


ASKED, ANSWERED = Message(role="user", content="q"), Message(role="assistant", content="a")
KINDS: list[Content] = [
    Conversation(messages=(ASKED, ANSWERED), metadata={"license": "CC0"}),
    Preference(prompt=(ASKED,), chosen=(ANSWERED,), rejected=(Message(role="assistant", content="b"),), margin=0.5),
    Labelled(prompt=(ASKED,), completion=(ANSWERED,), label=False),
    Prompt(messages=(ASKED,), reference="a"),
    Text(text="Once.", metadata={"url": "u"}),
]


class Meant(NamedTuple):
    """A row, its format, and the turns it is read into: (role, text)."""

    format: str
    row: dict[str, Any]
    turns: list[tuple[str, str]]


MEANT = {
    "alpaca with earlier turns": Meant(
        "instruction",
        {"instruction": "and b", "input": "c", "output": "d", "history": [["a", "x"]], "system": "s"},
        [("system", "s"), ("user", "a"), ("assistant", "x"), ("user", "and b\n\nc"), ("assistant", "d")],
    ),
    "sharegpt with a tool": Meant(
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "rain"},
                {"from": "gpt", "value": "It rains"},
            ],
            "tools": json.dumps([WEATHER]),
            "system": "s",
        },
        [("system", "s"), ("user", "q"), ("assistant", ""), ("tool", "rain"), ("assistant", "It rains")],
    ),
    "domain qa": Meant(
        "qa",
        {"domain": "bank", "context": "Fees are 2%.", "question": "Fees?", "answer": "2%"},
        [("user", "Fees are 2%.\n\nFees?"), ("assistant", "2%")],
    ),
    "squad as datasets stores it": Meant(
        "qa",
        {"context": "Fees are 2%.", "question": "Fees?", "answers": {"text": ["2%"], "answer_start": [9]}},
        [("user", "Fees are 2%.\n\nFees?"), ("assistant", "2%")],
    ),
    "structured": Meant(
        "structured",
        {
            "input": {"system": "s", "context": DOCUMENTS, "user": "Fees?"},
            "output": {"status": "answered", "answer": "2%", "citations": ["d1"]},
        },
        [
            ("system", "s"),
            ("user", "[d1] Fees are 2%.\n[d2] Cards are free.\n\nFees?"),
            ("assistant", '{"status": "answered", "answer": "2%", "citations": ["d1"]}'),
        ],
    ),
    "tool use": Meant(
        "tool_use",
        {"instruction": "Weather?", "tools": [WEATHER], "output": json.dumps(CALL)},
        [("user", "Weather?"), ("assistant", "")],
    ),
    "tool use as xLAM writes it": Meant(
        "tool_use",
        {"query": "Weather?", "tools": json.dumps([WEATHER]), "answers": json.dumps([CALL])},
        [("user", "Weather?"), ("assistant", "")],
    ),
    "spec and code": Meant(
        "code", {"spec": "add", "code": "a + b", "language": "python"}, [("user", "add"), ("assistant", "a + b")]
    ),
    "safety": Meant(
        "safety", {"prompt": "How to harm?", "refusal": "No."}, [("user", "How to harm?"), ("assistant", "No.")]
    ),
    "classification": Meant(
        "classification", {"text": "card lost", "label": 3, "id": 1}, [("user", "card lost"), ("assistant", "3")]
    ),
    "several labels": Meant(
        "classification",
        {"text": "new pin", "intents": ["pin", "new"]},
        [("user", "new pin"), ("assistant", '["pin", "new"]')],
    ),
    "bfcl with its calls": Meant(
        "bfcl",
        {
            "question": [[{"role": "user", "content": "Weather?"}]],
            "function": [WEATHER],
            "ground_truth": [{"weather": {"at": ["Pune", "pune"], "unit": ["", "C"]}}],
        },
        [("user", "Weather?"), ("assistant", "")],
    ),
}


def parse(name: str, row: Mapping[str, Any]) -> Any:
    return cast(Format, plugins.load(FOLDER, name)()).parse(row)


@pytest.mark.parametrize("case", MEANT.values(), ids=MEANT.keys())
def test_rows_are_known_by_their_keys_and_read_as_meant(case: Meant) -> None:
    name, form = choose_format(SourceSpec(path="any.bin"), [Row(1, case.row)])
    assert name == case.format
    found = form.parse(case.row)
    assert isinstance(found, Conversation)
    assert [(message.role, message.content or "") for message in found.messages] == case.turns


@pytest.mark.parametrize(
    "name", ["sharegpt with a tool", "tool use", "tool use as xLAM writes it", "bfcl with its calls"]
)
def test_calls_and_schemas_become_openai_s(name: str) -> None:
    found = parse(MEANT[name].format, MEANT[name].row)
    (call,) = [call for message in found.messages for call in message.tool_calls]
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("call_1", "weather", {"at": "Pune"})
    parameters = {"type": "object", "properties": {"at": {}}}
    assert found.tools == ({"type": "function", "function": {**WEATHER, "parameters": parameters}},)
    answers = [message.tool_call_id for message in found.messages if message.role == "tool"]
    assert answers == (["call_1"] if name.startswith("sharegpt") else [])


def test_plain_text_and_prompts() -> None:
    name, form = choose_format(SourceSpec(path="x"), [Row(1, {"text": "Once.", "url": "u"})])
    assert (name, form.parse({"text": "Once.", "url": "u"})) == ("text", Text(text="Once.", metadata={"url": "u"}))
    found = parse("bfcl", {"question": [[{"role": "user", "content": "?"}]], "function": [WEATHER], "id": "i"})
    assert isinstance(found, Prompt)
    assert json.loads(found.metadata["item"])["id"] == "i"


@pytest.mark.parametrize("content", KINDS, ids=lambda content: content.shape)
def test_rows_of_a_prepared_dataset_are_read_as_they_were_stored(content: Content) -> None:
    line = Example(id="0", source="a.csv", line=3, content=content, sizes=(2,)).model_dump_json()
    dropped = DroppedRow(reason="too_long", source="a.csv", line=3, content=content).model_dump_json()
    for row in map(json.loads, (line, dropped)):
        name, form = choose_format(SourceSpec(path="x"), [Row(1, row)])
        assert (name, form.parse(row)) == ("prepared", content)


def test_a_text_with_unknown_fields_is_no_plain_text() -> None:
    with pytest.raises(DataError, match="no format fits"):
        choose_format(SourceSpec(path="x"), [Row(1, {"text": "Once.", "spans": []})])
    assert choose_format(SourceSpec(path="x", format="text"), [Row(1, {"text": "Once.", "spans": []})])[0] == "text"


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("sharegpt", {"conversations": [{"from": "gpt", "value": "x"}]}, "conversations[0]", "starts with the assistant"),
    ("sharegpt", {"conversations": [{"from": "human", "vlaue": "x"}]}, "conversations[0].vlaue", "is not a known key"),
    ("sharegpt", {"conversations": [{"from": "human", "value": 5}]}, "conversations[0].value", "not a text"),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "weather()"}]},
        "conversations[1].value",
        "must be a call, is a text",
    ),
    ("sharegpt", {"conversations": "x"}, "conversations", "must be a list of turns, is a text"),
    (
        "qa",
        {"context": "Fees are 2%.", "question": "q", "answers": [{"text": "2%", "answer_start": 0}]},
        "answers[0].answer_start",
        "the context has 'Fe' at 0, not '2%'",
    ),
    ("qa", {"question": "q", "answers": []}, "answers", "without an answer"),
    ("structured", {"input": {"user": "q", "contxt": []}, "output": {"a": 1}}, "input.contxt", "is not a known key"),
    (
        "structured",
        {"input": {"user": "q", "context": DOCUMENTS}, "output": {"citations": ["d3"]}},
        "output.citations[0]",
        "cites 'd3'",
    ),
    ("structured", {"input": {"user": "q"}, "output": {"answer": 5}}, "output.answer", "must be a text, is a number"),
    (
        "structured",
        {"input": {"user": "q", "context": [DOCUMENTS[0], DOCUMENTS[0]]}, "output": {"answer": "x"}},
        "input.context[1].id",
        "stands twice",
    ),
    ("tool_use", {"instruction": "q", "tools": [], "output": "x"}, "tools", "missing or empty"),
    ("tool_use", {"instruction": "q", "tools": [WEATHER], "output": {"name": "wether"}}, "output", "'wether' is not"),
    ("safety", {"prompt": "q", "refusal": ""}, "refusal", "is empty"),
    ("classification", {"text": "q", "query": "r", "label": "x"}, "text", "the row has text and query"),
    ("classification", {"text": "q", "label": None}, "label", "must be a label, is null"),
    ("bfcl", {"question": [[], []], "function": []}, "question", "must hold one turn, is 2 of them"),
    (
        "bfcl",
        {"question": [[{"role": "user", "content": "q"}]], "function": [WEATHER], "ground_truth": [{"a": {}, "b": {}}]},
        "ground_truth[0]",
        "is not one function",
    ),
    ("instruction", {"instruction": "a", "output": "b", "history": [["a"]]}, "history[0]", "is not a question"),
    ("text", {"text": " "}, "text", "is empty"),
    ("prepared", {"source": "a", "line": 1, "content": "q"}, "content", "must be an object, is a text"),
    ("prepared", stored(messages=[{"role": "usr", "content": "q"}]), "content.messages[0].role", "input should be"),
    ("prepared", stored(messages=[{"role": "user", "content": "q"}]), "messages", "no assistant message"),
    ("prepared", stored(text="Once.", txt="x"), "content.txt", "extra inputs are not permitted"),
    ("prepared", stored(messages=[], tools=[{"function": 1}]), "tools[0]", "is not a function with a name"),
    ("code", {"spec": "a"}, "code", "is missing"),
]


@pytest.mark.parametrize(("name", "row", "field", "message"), REFUSED)
def test_rows_that_are_nearly_right_are_refused_by_field(
    name: str, row: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        parse(name, row)
    problem = caught.value.problems[0]
    assert problem.field == field
    assert message in problem.message
    assert problem.fix


def test_columns_deeper_several_and_made_of_others() -> None:
    plugin = plugins.load(FOLDER, "columns")
    row = {"user": {"text": "q"}, "a": [1], "c0": "x", "c1": "y"}
    deep = cast(Format, plugin.model_validate({"prompt": "user.text", "completion": ("a", "b")})).parse(row)
    assert deep.conversations[0].reference == '{"a": [1], "b": null}'
    made = cast(Format, plugin.model_validate({"prompt": "{c0} or {c1}?", "completion": "a"})).parse(row)
    assert [message.content for message in made.conversations[0].messages] == ["x or y?", "[1]"]
    with pytest.raises(DataError, match=r"user\.txt: is not a column"):
        cast(Format, plugin.model_validate({"prompt": "user.txt", "completion": "a"})).parse(row)
    with pytest.raises(DataError, match=r"intent: is not a column.*did you mean 'intents'"):
        cast(Format, plugin.model_validate({"prompt": "c0", "completion": ("a", "intent")})).parse(
            {**row, "intents": []}
        )
