"""Tools: forced calls are valid whatever the model would say; calls the model makes itself are read from its text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel

from tunesmith.engine.backends.echo import Echo
from tunesmith.models.weights import resolve_base
from tunesmith.serve.platform import open_platform
from tunesmith.serve.stage import ServeOptions, open_service, running
from tunesmith.settings import Settings
from tunesmith.types.recipe import ModelSpec

ASKED: Any = [{"role": "user", "content": "What is the weather?"}]


class Weather(BaseModel):
    city: Literal["Pune", "Delhi"]
    days: Literal[1, 2]


class Clock(BaseModel):
    zone: Literal["IST", "UTC"]


TOOLS: Any = [pydantic_function_tool(Weather, name="weather"), pydantic_function_tool(Clock, name="clock")]
LOOSE: Any = [{"type": "function", "function": {"name": "lookup", "parameters": None}}]
NAMED: Any = {"type": "function", "function": {"name": "clock"}}
SAID = 'I look.\n<tool_call>\n{"name": "lookup", "arguments": {"q": "a } b"}}\n</tool_call>'


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "base", "messages": ASKED, "temperature": 1.3, **options})


def check(call: Any) -> None:
    assert call.type == "function"
    {"weather": Weather, "clock": Clock}[call.function.name].model_validate_json(call.function.arguments)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_required_calls_are_valid(client: openai.OpenAI, seed: int) -> None:
    found = ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, seed=seed).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.message.content is None
    assert len(found.message.tool_calls) == 1
    check(found.message.tool_calls[0])


def test_a_named_call_ends_with_stop(client: openai.OpenAI) -> None:
    found = ask(client, tools=TOOLS, tool_choice=NAMED).choices[0]
    assert found.finish_reason == "stop"
    assert [call.function.name for call in found.message.tool_calls] == ["clock"]
    check(found.message.tool_calls[0])


def test_allowed_tools_are_the_only_ones_called(client: openai.OpenAI) -> None:
    allowed: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
    for seed in range(3):
        found = ask(client, tools=TOOLS, tool_choice=allowed, parallel_tool_calls=False, seed=seed).choices[0]
        assert [call.function.name for call in found.message.tool_calls] == ["clock"]


def test_parse_reads_the_arguments(client: openai.OpenAI) -> None:
    found = client.chat.completions.parse(model="base", messages=ASKED, tools=TOOLS, tool_choice=NAMED)
    calls = found.choices[0].message.tool_calls
    assert calls is not None
    assert isinstance(calls[0].function.parsed_arguments, Clock)


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_the_sdk_accumulates_streamed_calls(client: openai.OpenAI, choice: Any) -> None:
    options: Any = {"tools": TOOLS, "tool_choice": choice, "seed": 5, "parallel_tool_calls": False, "n": 2}
    whole = client.chat.completions.create(model="base", messages=ASKED, **options)
    with client.chat.completions.stream(model="base", messages=ASKED, **options) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    for streamed, expected in zip(final.choices, whole.choices, strict=True):
        assert streamed.finish_reason == expected.finish_reason
        assert streamed.message.role == "assistant"
        assert streamed.message.content is None
        assert streamed.message.tool_calls is not None
        assert expected.message.tool_calls is not None
        for one, other in zip(streamed.message.tool_calls, expected.message.tool_calls, strict=True):
            assert one.function.name == other.function.name
            assert one.function.arguments == other.function.arguments
            assert one.id.startswith("call_")
            check(one)
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert len(done) == 2


def test_raw_deltas_name_each_call_once(client: openai.OpenAI) -> None:
    chunks = list(ask(client, tools=TOOLS, tool_choice=NAMED, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    calls = [delta.tool_calls for delta in deltas if delta.tool_calls]
    assert all(len(entries) == 1 and entries[0].index == 0 for entries in calls)
    assert calls[0][0].function.name == "clock"
    assert calls[0][0].function.arguments == ""
    for entries in calls[1:]:
        assert set(entries[0].to_dict()) == {"index", "function"}
        assert set(entries[0].function.to_dict()) == {"arguments"}
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]


def test_auto_with_strict_tools_is_text_or_valid_calls(client: openai.OpenAI) -> None:
    for seed in range(3):
        found = ask(client, tools=TOOLS, seed=seed, max_tokens=60).choices[0]
        assert found.message.tool_calls or isinstance(found.message.content, str)
        for call in found.message.tool_calls or ():
            check(call)


def test_none_calls_nothing_and_shows_no_tools(client: openai.OpenAI) -> None:
    found = ask(client, tools=TOOLS, tool_choice="none", max_tokens=5)
    assert found.choices[0].message.tool_calls is None
    assert found.usage.prompt_tokens == ask(client, max_tokens=5).usage.prompt_tokens
    assert found.usage.prompt_tokens < ask(client, tools=TOOLS, max_tokens=5).usage.prompt_tokens


def test_a_conversation_goes_on_with_results(client: openai.OpenAI) -> None:
    call = ask(client, tools=TOOLS, tool_choice=NAMED).choices[0].message
    result: Any = {
        "role": "tool",
        "tool_call_id": call.tool_calls[0].id,
        "content": [{"type": "text", "text": "12:00"}],
    }
    after = [*ASKED, call.to_dict(), result]
    found = ask(client, messages=after, tools=TOOLS, tool_choice="none", max_tokens=3)
    assert found.choices[0].message.content is not None
    old = [
        *ASKED,
        {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": ""}},
        {"role": "function", "name": "clock", "content": "12:00"},
    ]
    assert ask(client, messages=old, max_tokens=3).usage.prompt_tokens > 0


def test_length_cuts_a_call(client: openai.OpenAI) -> None:
    found = ask(client, tools=TOOLS, tool_choice="required", max_tokens=5).choices[0]
    assert found.finish_reason == "length"


def function(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [*TOOLS, TOOLS[0]]}, "tools"),
    ({"tools": [function("has space")]}, "tools[0].function.name"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "x"}}}]},
        "tools",
    ),
    ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions"),
    ({"functions": [{"name": "has space"}]}, "functions[0].name"),
    ({"functions": [{"name": "f"}], "tools": TOOLS}, "functions"),
    ({"functions": [{"name": "f"}], "tool_choice": "auto"}, "functions"),
    ({"function_call": {"name": "f"}}, "function_call"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
    ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
]


@pytest.mark.parametrize(("options", "param"), REFUSED, ids=[param for _, param in REFUSED])
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_tools_are_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **options, stream=stream)
    assert str(caught.value.param).startswith(param)


FUNCTIONS: Any = [tool["function"] for tool in TOOLS]


def test_functions_are_the_older_form_of_tools(client: openai.OpenAI) -> None:
    newer = ask(client, tools=TOOLS, tool_choice=NAMED, seed=5)
    older = ask(client, functions=FUNCTIONS, function_call={"name": "clock"}, seed=5, store=True)
    (call,) = newer.choices[0].message.tool_calls
    found = older.choices[0]
    assert found.message.function_call.to_dict() == call.function.to_dict()
    assert (found.message.tool_calls, found.message.content, found.finish_reason) == (None, None, "stop")
    assert older.usage.prompt_tokens == newer.usage.prompt_tokens
    kept = client.chat.completions.retrieve(older.id)
    assert [tool["function"]["name"] for tool in kept.tools] == ["weather", "clock"]
    assert kept.tool_choice == {"name": "clock"}
    result = {"role": "function", "name": "clock", "content": "12:00"}
    after = [*ASKED, found.message.to_dict(), result]
    said = ask(client, messages=after, functions=FUNCTIONS, function_call="none", max_tokens=3).choices[0]
    assert (said.message.function_call, said.finish_reason) == (None, "length")


def test_a_streamed_function_call_has_its_name_once(client: openai.OpenAI) -> None:
    asked = {"functions": FUNCTIONS, "function_call": {"name": "clock"}, "seed": 5}
    chunks = list(ask(client, **asked, stream=True))
    calls = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    assert [call.name for call in calls] == ["clock"] + [None] * (len(calls) - 1)
    assert all(chunk.choices[0].delta.tool_calls is None for chunk in chunks)
    whole = ask(client, **asked).choices[0].message.function_call
    assert "".join(call.arguments for call in calls) == whole.arguments
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_functions_that_may_be_called_are_called_once_at_most(client: openai.OpenAI) -> None:
    for seed in range(3):
        found = ask(client, functions=FUNCTIONS, seed=seed, max_tokens=60).choices[0]
        assert found.message.function_call or isinstance(found.message.content, str)
        assert found.message.tool_calls is None


def test_an_engine_without_grammars_refuses_functions(scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="echo") as caught:
        scripted.chat.completions.create(model="base", messages=ASKED, functions=[{"name": "lookup"}])
    assert caught.value.param == "functions"


def test_a_loose_schema_that_cannot_be_enforced_is_any_object(client: openai.OpenAI) -> None:
    odd = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}, "required": ["a"]}
    tools: Any = [{"type": "function", "function": {"name": "odd", "parameters": odd}}]
    found = ask(client, tools=tools, tool_choice="required", max_tokens=80).choices[0]
    assert found.message.tool_calls[0].function.name == "odd"
    strict = [{"type": "function", "function": {**tools[0]["function"], "strict": True}}]
    with pytest.raises(openai.BadRequestError, match="uniqueItems"):
        ask(client, tools=strict, tool_choice="required")


@pytest.fixture(scope="module")
def scripted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A server whose model says what it was told to: a call in the form of its template, and others."""
    base = resolve_base(ModelSpec(base=str(tiny_base)), tiny_base)
    answers = {
        "weather?": SAID,
        "twice?": f"{SAID}\n{SAID.removeprefix('I look.').lstrip()}",
        "wrong?": SAID.replace("lookup", "nothing"),
    }
    engine = Echo(answers=answers).start(tiny_base)
    options = ServeOptions(port=0, keys=False)
    platform = open_platform(Settings(home=tmp_path_factory.mktemp("scripted")))
    with (
        running(open_service(base, platform, options, engine=engine), options) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as found,
    ):
        yield found


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_the_model_makes_itself_are_read(scripted: openai.OpenAI, stream: bool) -> None:
    def message(question: str) -> Any:
        asked: Any = {"model": "base", "messages": [{"role": "user", "content": question}], "tools": LOOSE}
        if not stream:
            return scripted.chat.completions.create(**asked).choices[0]
        with scripted.chat.completions.stream(**asked) as events:
            return events.get_final_completion().choices[0]

    one = message("weather?")
    assert one.message.content == "I look."
    assert one.finish_reason == "tool_calls"
    assert json.loads(one.message.tool_calls[0].function.arguments) == {"q": "a } b"}
    assert len({call.id for call in message("twice?").message.tool_calls}) == 2
    wrong = message("wrong?")
    assert wrong.message.content == SAID.replace("lookup", "nothing")
    assert not wrong.message.tool_calls
    assert wrong.finish_reason == "stop"


def test_an_engine_without_grammars_refuses_forced_calls(scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="echo") as caught:
        scripted.chat.completions.create(model="base", messages=ASKED, tools=LOOSE, tool_choice="required")
    assert caught.value.param == "tool_choice"
