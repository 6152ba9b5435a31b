"""Tool calls read out of text, however the text is cut into pieces."""

from __future__ import annotations

import json

import pytest

from tunesmith.engine.calls import ArgumentsDelta, CallParser, CallStart, TextDelta
from tunesmith.types.tool_syntax import Part, ToolSyntax

HERMES = ToolSyntax(
    opening=(Part(text='<tool_call>\n{"name": "'),),
    middle=(Part(text='", "arguments": '),),
    between=(Part(text='}\n</tool_call>\n<tool_call>\n{"name": "'),),
    closing=(Part(text="}\n</tool_call>"),),
)
LISTED = ToolSyntax(
    opening=(Part(token=5), Part(text='[{"name": "')),
    middle=(Part(text='", "arguments": '),),
    between=(Part(text=', "id": "'), Part(call_id=True), Part(text='"}, {"name": "')),
    closing=(Part(text=', "id": "'), Part(call_id=True), Part(text='"}]')),
)
BARE = ToolSyntax(
    opening=(Part(text='{"name": "'),),
    middle=(Part(text='", "parameters": '),),
    between=None,
    closing=(Part(text="}"),),
)
TWO = (
    '[{"name": "get", "arguments": {}, "id": "aB3dE6gH9"}, '
    '{"name": "get_all", "arguments": {"b": 2}, "id": "xxxxxxxxx"}]'
)
NAMES = ("get", "get_all")


def read(syntax: ToolSyntax, text: str, size: int) -> tuple[str, list[tuple[str, str]]]:
    """(text outside of calls, [(name, arguments)]) of `text` given `size` characters at a time."""
    parser = CallParser(syntax, NAMES)
    found = [piece for at in range(0, len(text), size) for piece in parser.push(text[at : at + size])]
    found += parser.finish()
    starts = [piece for piece in found if isinstance(piece, CallStart)]
    assert [start.number for start in starts] == list(range(len(starts)))
    assert len({start.id for start in starts}) == len(starts)
    calls = []
    for start in starts:
        first = found.index(start)
        pieces = [
            (at, one) for at, one in enumerate(found) if isinstance(one, ArgumentsDelta) and one.number == start.number
        ]
        assert all(at > first for at, _ in pieces)
        calls.append((start.name, "".join(one.text for _, one in pieces)))
    return "".join(piece.text for piece in found if isinstance(piece, TextDelta)), calls


ARGUMENTS = '{"a": "} ] \\" <tool_call>", "b": [1, {"c": {}}]}'
CASES = [
    (HERMES, "Hello, world.\n", ("Hello, world.\n", [])),
    (HERMES, "", ("", [])),
    (HERMES, f'<tool_call>\n{{"name": "get", "arguments": {ARGUMENTS}}}\n</tool_call>', ("", [("get", ARGUMENTS)])),
    (HERMES, 'I see. \n<tool_call>{"name":"get_all","arguments":{}}</tool_call>\n', ("I see.", [("get_all", "{}")])),
    (
        HERMES,
        '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>\n\n<tool_call>\n'
        '{"name": "get_all", "arguments": {"x": 1}}\n</tool_call>\nDone.',
        ("\nDone.", [("get", "{}"), ("get_all", '{"x": 1}')]),
    ),
    (
        HERMES,
        '<tool_call>\n{"name": "other", "arguments": {}}',
        ('<tool_call>\n{"name": "other", "arguments": {}}', []),
    ),
    (HERMES, '<tool_call>\n{"name": "get", "arguments": 5}', ('<tool_call>\n{"name": "get", "arguments": 5}', [])),
    (HERMES, 'a <tool_call> b <tool_call>\n{"name": "get", "arguments": {}}', ("a <tool_call> b", [("get", "{}")])),
    (HERMES, '<tool_call>\n{"name": "get", "arguments": {"a": "un', ("", [("get", '{"a": "un')])),
    (HERMES, '<tool_call>\n{"name": "ge', ('<tool_call>\n{"name": "ge', [])),
    (HERMES, '<tool_call>\n{"name": "get", "arguments": {}}\n</tool', ("", [("get", "{}")])),
    (
        LISTED,
        TWO,
        ("", [("get", "{}"), ("get_all", '{"b": 2}')]),
    ),
    (BARE, '{"name": "get", "parameters": {"q": "x"}}', ("", [("get", '{"q": "x"}')])),
    (BARE, '{"name": "Ann"}', ('{"name": "Ann"}', [])),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("syntax", "text", "expected"), CASES, ids=range(len(CASES)))
def test_calls_are_read(syntax: ToolSyntax, text: str, expected: tuple[str, list[tuple[str, str]]], size: int) -> None:
    assert read(syntax, text, size) == expected


def test_text_is_not_held_back_longer_than_needed() -> None:
    parser = CallParser(HERMES, NAMES)
    assert parser.push("Hello") == [TextDelta("Hello")]
    assert parser.push(" <tool") == []
    assert parser.push(" tips>") == [TextDelta(" <tool tips>")]


def test_arguments_stream() -> None:
    parser = CallParser(HERMES, NAMES)
    parser.push('<tool_call>\n{"name": "get", "arguments": {')
    assert parser.push('"a": ') == [ArgumentsDelta(0, '"a": ')]
    assert parser.push("1}}\n") == [ArgumentsDelta(0, "1}")]
    assert json.loads('{"a": 1}') == {"a": 1}
