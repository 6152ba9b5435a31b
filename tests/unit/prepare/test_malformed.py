"""Broken files of the kinds seen in public trackers: each is read as meant, or refused by file, line, field and fix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tunesmith.errors import DataError

ROW = '{"prompt": "Where is it?", "completion": "On its way"}'
OTHER = '{"prompt": "And now?", "completion": "Delivered"}'
TOOLS = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "price", "arguments": '{"of": "tea"}'}}


def chat(*turns: tuple[str, str] | dict[str, Any], **others: Any) -> str:
    messages = [turn if isinstance(turn, dict) else {"role": turn[0], "content": turn[1]} for turn in turns]
    return json.dumps({"messages": messages, **others})


@dataclass(frozen=True)
class Refused:
    """A file that is refused: where, and what the message and the fix say."""

    name: str
    content: str | bytes
    line: int | None
    field: str | None
    message: str
    fix: str


REFUSED = {
    "02 several objects on one line": Refused(
        "a.jsonl", f"{ROW}\n{ROW} {OTHER}\n", 2, None, "several objects", "one object a line"
    ),
    "03 last line cut off in a text": Refused(
        "a.jsonl",
        f'{ROW}\n{{"prompt": "Where", "completion": "On i',
        2,
        "completion",
        "cut off (column 35)",
        "its end is missing",
    ),
    "03b last line cut off after a text": Refused(
        "a.jsonl", f'{ROW}\n{{"prompt": "Where"', 2, "prompt", "the row is cut off", "its end is missing"
    ),
    "03c array cut off": Refused("a.json", f"[{ROW},\n{ROW}", 2, None, "ends inside the array", "close it with ]"),
    "04 every line ends with a comma": Refused(
        "a.jsonl", f"{ROW},\n{OTHER},\n", 1, None, "ends with a comma", "remove the comma"
    ),
    "05 unquoted key": Refused(
        "a.jsonl",
        f'{ROW}\n{{"prompt": "Where?", completion: "x"}}\n',
        2,
        "completion",
        "is not in quotes (column 22)",
        'write "completion":',
    ),
    "05b unquoted value": Refused(
        "a.jsonl",
        f'{{"prompt": "Where?", "completion": text}}\n{ROW}\n',
        1,
        "completion",
        "'text' is not in quotes",
        "double quotes",
    ),
    "05c unescaped quote": Refused(
        "a.jsonl",
        f'{ROW}\n{{"prompt": "He said "no" twice", "completion": "x"}}\n',
        2,
        "prompt",
        "unescaped quote",
        '\\"',
    ),
    "05d python instead of JSON": Refused(
        "a.jsonl", f"{ROW}\n{{'prompt': 'a', 'completion': None}}\n", 2, None, "single quotes", "json.dumps"
    ),
    "07 empty file": Refused("a.jsonl", "", 1, None, "the file is empty", "right file"),
    "07b only white space": Refused("a.json", " \r\n\n", 1, None, "the file is empty", "right file"),
    "07c wrong file": Refused(
        "a.json", "<!DOCTYPE html>\n<html>", 1, None, "starts with '<!DOCTYPE html>'", "right file"
    ),
    "07d binary file": Refused("a.csv", b"PK\x03\x04\x00\x00", 1, None, "binary data", "UTF-8"),
    "09 missing comma deep in an array": Refused(
        "a.json",
        "[\n" + f"{ROW},\n" * 700 + f"{ROW}\n  {OTHER}\n]",
        703,
        None,
        "a comma is missing between two rows (column 3)",
        "put a comma",
    ),
    "09b missing comma inside a row": Refused(
        "a.json",
        f'[\n{ROW},\n{{"prompt": "a"\n "completion": "b"}}\n]',
        4,
        "prompt",
        "a comma is missing before this (column 2)",
        "put a comma",
    ),
    "10 a text becomes a number": Refused(
        "a.jsonl",
        f'{ROW}\n{OTHER}\n{{"prompt": "Which?", "completion": 7}}\n',
        3,
        "completion",
        "must be a text, is a number (7)",
        'in quotes: "7"',
    ),
    "10b a text becomes a list": Refused(
        "a.jsonl",
        f'{ROW}\n{{"prompt": ["Which?"], "completion": "x"}}\n',
        2,
        "prompt",
        "must be a text, is a list",
        "write a text",
    ),
    "12 unknown role": Refused(
        "a.jsonl",
        chat(("human", "hi"), ("assistant", "hello")),
        1,
        "messages[0].role",
        "'human' is not a role",
        "did you mean 'user'?",
    ),
    "12b misspelt role": Refused(
        "a.jsonl",
        chat(("user", "hi"), ("asistant", "hello")),
        1,
        "messages[1].role",
        "'asistant' is not a role",
        "did you mean 'assistant'?",
    ),
    "12c from and value": Refused(
        "a.jsonl",
        '{"messages": [{"from": "human", "value": "hi"}]}',
        1,
        "messages[0].role",
        "is missing",
        "rename from to role",
    ),
    "13 two user turns in a row": Refused(
        "a.jsonl",
        chat(("user", "a"), ("user", "b"), ("assistant", "c")),
        1,
        "messages[1]",
        "two user messages in a row",
        "merge",
    ),
    "13b starts with the assistant": Refused(
        "a.jsonl",
        chat(("system", "s"), ("assistant", "a"), ("user", "b"), ("assistant", "c")),
        1,
        "messages[1]",
        "starts with the assistant",
        "put the user's message before",
    ),
    "13c tool call without an answer": Refused(
        "a.jsonl",
        chat(("user", "a"), {"role": "assistant", "tool_calls": [CALL]}, ("assistant", "c"), tools=TOOLS),
        1,
        "messages[2]",
        "tool call 'call_1' has no answer",
        '"tool_call_id": "call_1"',
    ),
    "16 conversations with an unknown speaker": Refused(
        "a.json",
        '[{"conversations": [{"from": "humna", "value": "hi"}, {"from": "gpt", "value": "ho"}]}]',
        1,
        "conversations[0].from",
        "'humna' is not a role",
        "did you mean 'human'?",
    ),
    "16b ambiguous format": Refused(
        "a.jsonl",
        '{"prompt": "a", "completion": "b", "instruction": "a", "output": "b"}',
        None,
        None,
        "ambiguous: completion and instruction",
        "write format: completion (or instruction)",
    ),
    "17 symbol-only answer": Refused(
        "a.jsonl", f'{ROW}\n{{"prompt": "a", "completion": "  "}}\n', 2, "completion", "is empty", "remove the row"
    ),
    "19 image part": Refused(
        "a.jsonl",
        chat({"role": "user", "content": [{"type": "image_url"}]}, ("assistant", "x")),
        1,
        "messages[0].content[0]",
        "part of type 'image_url'",
        "only text parts",
    ),
    "19b tool not offered": Refused(
        "a.jsonl",
        chat(
            ("user", "a"),
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "prize", "arguments": "{}"}}]},
            tools=TOOLS,
        ),
        1,
        "messages[1].tool_calls[0].function.name",
        "'prize' is not among the row's tools",
        "did you mean 'price'?",
    ),
    "19c arguments are no JSON": Refused(
        "a.jsonl",
        chat(
            ("user", "a"),
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "price", "arguments": "{of: tea}"}}]},
        ),
        1,
        "messages[1].tool_calls[0].function.arguments",
        "is not JSON",
        "one JSON object",
    ),
    "CSV a cell too many": Refused(
        "a.csv",
        "prompt,completion\na,b\nc,d,e\n",
        3,
        None,
        "3 cells where the header has 2",
        'hold a comma in "quotes"',
    ),
    "CSV a cell missing": Refused(
        "a.csv", "prompt,completion\na\n", 2, "completion", "1 cell where the header has 2", "add the missing cell"
    ),
    "CSV unclosed quote": Refused("a.csv", 'prompt,completion\na,b\n"c,d\ne,f\n', 3, None, "never closed", "close it"),
    "CSV header only": Refused("a.csv", "prompt,completion\n", 1, None, "no rows", "add at least one row"),
    "CSV column twice": Refused("a.csv", "prompt,prompt\na,b\n", 1, None, "a column twice: 'prompt'", "its own name"),
    "not UTF-8": Refused(
        "a.jsonl",
        f"{ROW}\n".encode() + '{"prompt": "café"'.encode("latin-1"),
        2,
        None,
        "byte 0xe9 at column 16 is not UTF-8",
        "save the file as UTF-8",
    ),
    "a key twice": Refused(
        "a.jsonl", '{"prompt": "a", "prompt": "b", "completion": "c"}', 1, "prompt", "stands twice", "keep one"
    ),
    "half a character": Refused(
        "a.jsonl", '{"prompt": "\\ud83d", "completion": "c"}', 1, None, "\\ud83d is half a character", "other half"
    ),
    "NaN": Refused("a.jsonl", '{"prompt": "a", "completion": NaN}', 1, None, "NaN is not JSON", "dropna"),
    "a row that is a list": Refused(
        "a.jsonl", f'{ROW}\n["a", "b"]\n', 2, None, "must be an object, this is an array", '{"key": value'
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_file_line_field_and_fix(case: Refused, run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({case.name: case.content})
    problem = caught.value.problems[0]
    assert (problem.file, problem.line, problem.field) == (case.name, case.line, case.field)
    assert case.message in problem.message
    assert case.fix in (problem.fix or "")
    assert str(problem) in str(caught.value)


PRETTY = json.dumps([json.loads(ROW), json.loads(OTHER)], indent=2)
READ: dict[str, tuple[str, str | bytes]] = {
    "01 array under .jsonl": ("a.jsonl", f"[{ROW}, {OTHER}]"),
    "01b pretty-printed array under .jsonl": ("a.jsonl", PRETTY),
    "01c JSONL under .json": ("a.json", f"{ROW}\n{OTHER}\n"),
    "01d pretty-printed objects one after the other": (
        "a.jsonl",
        "\n".join(json.dumps(json.loads(row), indent=2) for row in (ROW, OTHER)),
    ),
    "06 byte-order mark": ("a.jsonl", f"{ROW}\n{OTHER}\n".encode("utf-8-sig")),
    "06b byte-order mark before a CSV header": (
        "a.csv",
        "prompt,completion\nWhere is it?,On its way\nAnd now?,Delivered\n".encode("utf-8-sig"),
    ),
    "06c UTF-16 as Excel writes it": (
        "a.csv",
        "prompt\tcompletion\r\nWhere is it?\tOn its way\r\nAnd now?\tDelivered\r\n".encode("utf-16"),
    ),
    "08 .txt": ("a.txt", f"{ROW}\n{OTHER}"),
    "08b JSONL under .csv": ("a.csv", f"{ROW}\n{OTHER}"),
    "08c CSV under .json": ("a.json", "prompt,completion\nWhere is it?,On its way\nAnd now?,Delivered\n"),
    "15 pandas columns": (
        "a.json",
        '{"prompt": {"0": "Where is it?", "1": "And now?"}, "completion": {"0": "On its way", "1": "Delivered"}}',
    ),
    "15b pandas index": ("a.json", f'{{"0": {ROW}, "1": {OTHER}}}'),
    "16 conversations with from and value": (
        "a.json",
        json.dumps(
            [
                {"conversations": [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "On its way"}]},
                {"conversations": [{"from": "human", "value": "And now?"}, {"from": "gpt", "value": "Delivered"}]},
            ]
        ),
    ),
    "an object of lists": (
        "a.json",
        '{"prompt": ["Where is it?", "And now?"], "completion": ["On its way", "Delivered"]}',
    ),
    "CRLF": ("a.jsonl", f"{ROW}\r\n\r\n{OTHER}\r\n"),
    "semicolons": ("a.csv", "prompt;completion\nWhere is it?;On its way\nAnd now?;Delivered\n"),
    "tabs under .csv": ("a.csv", "prompt\tcompletion\nWhere is it?\tOn its way\nAnd now?\tDelivered\n"),
}


@pytest.mark.parametrize(("name", "content"), READ.values(), ids=READ.keys())
def test_read_as_meant(name: str, content: str | bytes, run: Any) -> None:
    dataset = run({name: content})
    turns = [
        tuple(message.content for message in example.conversation.messages) for example in dataset.examples("train")
    ]
    assert turns == [("Where is it?", "On its way"), ("And now?", "Delivered")]


def test_11_text_that_looks_like_something_else_stays_text(run: Any) -> None:
    rows = [("007", "NA"), ('{"a": 1}', "2024-01-02"), ("null", "1e5"), ("line\u2028separator", "True")]
    lines = "\n".join(
        json.dumps({"prompt": prompt, "completion": answer}, ensure_ascii=False) for prompt, answer in rows
    )
    dataset = run({"a.jsonl": lines})
    found = [(row.conversation.messages[0].content, row.conversation.reference) for row in dataset.examples("train")]
    assert found == rows


def test_14_every_row_dropped_names_the_reasons(run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": f"{ROW}\n{OTHER}\n", "b.jsonl": ROW}, max_tokens=8, system="one two three four five six")
    assert "the train split has no rows; of 3 rows in: 3 too_long" in str(caught.value)
    assert "a.jsonl:1, a.jsonl:2, b.jsonl:1" in str(caught.value)


def test_14b_too_many_dropped_shows_the_ledger(run: Any) -> None:
    with pytest.raises(DataError, match=r"50\.0% of the rows were dropped") as caught:
        run({"a.jsonl": f'{ROW}\n{{"prompt": "<bad> a", "completion": "b"}}\n'}, max_drop_rate=0.1)
    assert "unrenderable: a.jsonl:2" in str(caught.value)
    assert "a.jsonl:2: Message 0 holds <bad>." in str(caught.value)


@pytest.mark.parametrize(
    ("named", "fix"),
    [
        ("vicuna", "did you mean 'sharegpt'?"),
        ("alpaca", "did you mean 'instruction'?"),
        ("chatt", "Did you mean 'chat'?"),
    ],
)
def test_16c_format_names_of_other_tools(named: str, fix: str, run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": ROW}, sources=[{"path": "a.jsonl", "format": named}])
    assert fix in (caught.value.problems[0].fix or "")


def test_17_duplicates_over_the_split_leave_training(run: Any) -> None:
    train = f'{{"prompt": "  where IS  it?", "completion": "on its way"}}\n{OTHER}\n'
    sources = [{"path": "train.jsonl", "split": "train"}, {"path": "test.jsonl", "split": "test"}]
    dataset = run({"train.jsonl": train, "test.jsonl": ROW}, sources=sources)
    assert [row.line for row in dataset.examples("train")] == [2]
    (drop,) = dataset.manifest.ledger.drops
    assert (drop.reason, drop.rows, drop.where) == ("duplicate_of_test", 1, ("train.jsonl:1",))


def test_18_test_equal_to_train_is_refused(run: Any) -> None:
    sources = [{"path": "train.jsonl", "split": "train"}, {"path": "test.jsonl", "split": "test"}]
    both = f"{ROW}\n{OTHER}\n"
    with pytest.raises(DataError, match="the train split has no rows; of 4 rows in: 2 duplicate_of_test"):
        run({"train.jsonl": both, "test.jsonl": both}, sources=sources)


def test_19d_valid_tool_calls_are_accepted(run: Any) -> None:
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
    row = chat(
        ("system", "s"),
        ("user", "What is tea?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
        answer,
        ("assistant", "Three"),
        ("user", [{"type": "text", "text": "And "}, {"type": "text", "text": "coffee?"}]),
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "price", "arguments": {"of": "coffee"}}}]},
        tools=TOOLS,
        note="kept",
    )
    (example,) = run({"a.jsonl": row}).examples("train")
    messages = example.conversation.messages
    assert messages[2].weight == 0
    assert messages[3].tool_call_id == "call_1"
    assert messages[5].content == "And coffee?"
    assert messages[6].tool_calls[0].function.arguments == '{"of": "coffee"}'
    assert example.conversation.tools == tuple(TOOLS)
    assert example.conversation.metadata == {"note": "kept"}


def test_all_problems_of_all_files_are_collected_and_capped(run: Any) -> None:
    broken = "\n".join('{"prompt": "a", "completion": 1}' for _ in range(30))
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": broken, "b.jsonl": "{", "c.jsonl": ROW})
    assert len(caught.value.problems) == 20
    assert "The data has 31 problems" in str(caught.value)
    assert "and 11 more" in str(caught.value)


def test_problems_of_several_fields_and_lines_are_reported_together(run: Any) -> None:
    bad = chat({"role": "usr", "content": 5}, {"role": "assistant", "content": "", "wieght": 1})
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": f"{bad}\n{bad}\n"})
    fields = ["messages[0].role", "messages[0].content", "messages[1].wieght", "messages[1].content"]
    assert [(problem.line, problem.field) for problem in caught.value.problems] == [
        (line, field) for line in (1, 2) for field in fields
    ]


def test_rows_that_share_a_line_are_told_apart(run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.json": '{"prompt": {"0": "a", "7": "b"}, "completion": {"0": "c", "7": null}}'})
    problem = caught.value.problems[0]
    assert (problem.line, problem.field) == (1, '["7"].completion')
