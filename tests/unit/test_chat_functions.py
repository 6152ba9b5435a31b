"""Functions, the older form of tools: what a model says of its own accord becomes one function_call."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.answering.plan import Plan
from tunesmith.serve.api.chat_completions.answers import Reader, choice, delta
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.types.tool_syntax import Part, ToolSyntax

SYNTAX = ToolSyntax(
    opening=(Part(text="<"),), middle=(Part(text=" "),), between=(Part(text="> <"),), closing=(Part(text=">"),)
)
ASKED: Any = {"model": "base", "messages": [{"role": "user", "content": "x"}], "functions": [{"name": "close"}]}
SAID = [TokenEvent(1, "Well. <cl", 0.0), TokenEvent(2, 'ose {"id"', 0.0), TokenEvent(3, ": 7}>", 0.0, (), "stop")]


def reader(**options: Any) -> Reader:
    request = ChatRequest.model_validate({**ASKED, **options})
    ask, served = request.as_ask(), Any
    assert not ask.parallel
    return Reader(Plan(ask, served, (), (), (), SYNTAX), legacy=request.legacy)  # type: ignore[arg-type]


@pytest.mark.parametrize(("called", "reason"), [("auto", "function_call"), ({"name": "close"}, "stop")])
def test_a_call_is_a_function_call(called: Any, reason: str) -> None:
    found = choice(0, SAID, reader(function_call=called), None)
    assert found.message.content == "Well."
    assert found.message.function_call is not None
    assert found.message.function_call.model_dump() == {"name": "close", "arguments": '{"id": 7}'}
    assert (found.message.tool_calls, found.finish_reason) == (None, reason)


def test_chunks_have_the_name_once() -> None:
    reading = reader()
    deltas = [delta(piece, legacy=True) for event in SAID for piece in reading.read(event)]
    calls = [one.function_call for one in deltas if one.function_call is not None]
    assert [call.name for call in calls] == ["close"] + [None] * (len(calls) - 1)
    assert "".join(call.arguments or "" for call in calls) == '{"id": 7}'
    assert all(one.tool_calls is None for one in deltas)


def test_the_prompt_shows_the_tool_that_a_function_is() -> None:
    function = {"name": "close", "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}, "description": "d"}
    older = ChatRequest.model_validate({**ASKED, "functions": [function]}).as_ask()
    tools = {"functions": None, "tools": [{"type": "function", "function": function}]}
    newer = ChatRequest.model_validate({**ASKED, **tools}).as_ask()
    assert list(map(repr, older.offered)) == list(map(repr, newer.offered))  # keys in their order
