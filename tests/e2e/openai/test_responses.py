"""The responses API, through the official client and its own stream helper."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

SCHEMA: Any = {
    "type": "object",
    "properties": {"kind": {"enum": ["late", "lost"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
CLOCK: Any = {
    "type": "function",
    "name": "clock",
    "parameters": {
        "type": "object",
        "properties": {"zone": {"enum": ["IST", "UTC"]}},
        "required": ["zone"],
        "additionalProperties": False,
    },
    "strict": True,
}
NAMED: Any = {"type": "function", "name": "clock"}


class Report(BaseModel):
    kind: Literal["late", "lost"]
    days: int = Field(ge=0, le=9)


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.responses.create(**{"model": "base", "input": "Hello?", "max_output_tokens": 12, **options})


def test_a_response_is_whole(client: openai.OpenAI) -> None:
    found = ask(client, temperature=0, instructions="Be brief.", metadata={"a": "b"})
    assert found.id.startswith("resp_")
    assert found.status in ("completed", "incomplete")
    assert found.output[0].type == "message"
    assert found.output_text == found.output[0].content[0].text
    assert found.instructions == "Be brief."
    assert found.metadata == {"a": "b"}
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
    assert found.usage.input_tokens_details.cached_tokens >= 0
    assert (found.tool_choice, found.tools, found.parallel_tool_calls) == ("auto", [], True)
    if found.status == "incomplete":
        assert found.incomplete_details.reason == "max_output_tokens"


def test_the_prompt_is_that_of_chat(client: openai.OpenAI) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hel"}, {"type": "input_text", "text": "lo?"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes?", "annotations": []}],
        },
        {"role": "user", "content": "More."},
    ]
    messages: Any = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "More."},
    ]
    found = ask(client, input=items, instructions="S", temperature=0)
    chat = client.chat.completions.create(model="base", messages=messages, temperature=0, max_tokens=12)
    assert chat.usage is not None
    assert found.usage.input_tokens == chat.usage.prompt_tokens
    assert found.output_text == chat.choices[0].message.content
    counted = client.responses.input_tokens.count(model="base", input=items, instructions="S")  # type: ignore[arg-type]
    assert counted.input_tokens == chat.usage.prompt_tokens


def test_the_stream_has_its_events_in_order(client: openai.OpenAI) -> None:
    events = list(ask(client, stream=True, temperature=0))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    end = events[-1].response.status
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * deltas,
        *("output_text.done", "content_part.done", "output_item.done", end),
    ]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
        events[-1].response.output_text
    )
    assert events[0].response.status == "in_progress"
    assert events[0].response.output == []


def test_the_sdk_s_stream_helper_parses_a_form(client: openai.OpenAI) -> None:
    with client.responses.stream(model="base", input="Hello?", text_format=Report) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Report)
    parsed = client.responses.parse(model="base", input="Hello?", text_format=Report)
    assert isinstance(parsed.output_parsed, Report)


def test_a_form_is_enforced_or_refused(client: openai.OpenAI) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "report", "schema": SCHEMA}}
    found = ask(client, text=form, max_output_tokens=200)
    assert json.loads(found.output_text)["kind"] in ("late", "lost")
    wrong: Any = {"format": {"type": "json_schema", "name": "report", "schema": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, text=wrong)
    assert caught.value.param == "text.format"


def test_calls_and_their_results(client: openai.OpenAI) -> None:
    found = ask(client, tools=[CLOCK], tool_choice=NAMED, max_output_tokens=200)
    (call,) = found.output
    assert (call.type, call.name, found.status) == ("function_call", "clock", "completed")
    assert json.loads(call.arguments)["zone"] in ("IST", "UTC")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "12:00"}
    after = ask(client, input=[result], previous_response_id=found.id, tools=[CLOCK], tool_choice="none")
    assert after.previous_response_id == found.id
    assert after.output[0].type == "message"
    by_hand = ask(client, input=[{"role": "user", "content": "Hello?"}, call.to_dict(), result])
    assert by_hand.usage.input_tokens == after.usage.input_tokens


def test_streamed_calls(client: openai.OpenAI) -> None:
    options: Any = {"model": "base", "input": "Hello?", "tools": [CLOCK], "tool_choice": NAMED}
    with client.responses.stream(**options) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert "response.function_call_arguments.delta" in kinds
    assert kinds.index("response.function_call_arguments.done") + 1 == kinds.index("response.output_item.done")
    call: Any = final.output[0]
    assert json.loads(call.arguments)["zone"] in ("IST", "UTC")


def test_responses_go_on_from_one_another(client: openai.OpenAI) -> None:
    first = ask(client, input="One", temperature=0)
    second = ask(client, input="Two", previous_response_id=first.id, instructions="S", temperature=0)
    third = ask(client, input="Three", previous_response_id=second.id, temperature=0)
    items: Any = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "Three"},
    ]
    assert ask(client, input=items, temperature=0).usage.input_tokens == third.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, previous_response_id="resp_nothing")
    assert caught.value.code == "previous_response_not_found"
    unkept = ask(client, store=False)
    with pytest.raises(openai.BadRequestError):
        ask(client, previous_response_id=unkept.id)


def test_kept_responses(client: openai.OpenAI) -> None:
    made = ask(client, input=[{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}])
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    page = client.responses.input_items.list(made.id, limit=1, order="asc")
    assert [item.content[0].text for item in page] == ["One", "Two"]  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    for action in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            action(made.id)
    streamed = list(ask(client, stream=True))[-1].response
    assert client.responses.retrieve(streamed.id).output_text == streamed.output_text


def test_log_probabilities(client: openai.OpenAI) -> None:
    found = ask(client, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=3)
    for token in found.output[0].content[0].logprobs:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"background": True}, "background"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"truncation": "auto"}, "truncation"),
    ({"tools": [{"type": "web_search"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [CLOCK], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
    ({"input": []}, "input"),
    ({"input": [{"role": "user"}]}, "input"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
    ({"input": "x" * 3000}, "input"),
    ({"extra_body": {"frequency_penalty": 1}}, "frequency_penalty"),
]


@pytest.mark.parametrize(("options", "param"), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **options, stream=stream)
    assert str(caught.value.param).startswith(param)
