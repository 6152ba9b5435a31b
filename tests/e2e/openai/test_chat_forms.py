"""Chat answers with a form: the tiny model says noise, and the form makes the noise valid."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any

import openai
import pytest
from pydantic import BaseModel, Field

ASKED: Any = [{"role": "user", "content": "Where is my parcel?"}]


class Kind(Enum):
    LATE = "late"
    LOST = "lost"


class Report(BaseModel):
    kind: Kind
    days: int = Field(ge=0, le=99)
    notes: list[bool] = Field(max_length=2)


SCHEMA: Any = {
    "type": "object",
    "properties": {"kind": {"enum": ["late", "lost"]}, "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"}},
    "required": ["kind", "code"],
    "additionalProperties": False,
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA, "strict": True}}


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "base", "messages": ASKED, **options})


def test_parse_gives_the_class_that_was_asked_for(client: openai.OpenAI) -> None:
    for seed in range(3):
        found = client.chat.completions.parse(model="base", messages=ASKED, response_format=Report, seed=seed)
        report = found.choices[0].message.parsed
        assert isinstance(report, Report)
        assert found.choices[0].finish_reason == "stop"


def test_a_stream_with_a_form_is_accumulated_and_parsed(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="base", messages=ASKED, response_format=Report, seed=1) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Report)
    assert {"content.delta", "content.done"} <= set(kinds)
    whole = client.chat.completions.parse(model="base", messages=ASKED, response_format=Report, seed=1)
    assert final.choices[0].message.content == whole.choices[0].message.content


def test_json_schema_with_every_choice_of_its_own(client: openai.OpenAI) -> None:
    found = ask(client, response_format=FORM, n=3, seed=4, temperature=1.5, logprobs=True, top_logprobs=3)
    for choice in found.choices:
        said = json.loads(choice.message.content)
        assert said["kind"] in ("late", "lost")
        assert said["code"][:2].isupper()
        assert said["code"][2:].isdigit()
        for token in choice.logprobs.content:
            assert math.isfinite(token.logprob)
            assert token.logprob <= 0
            assert len(token.top_logprobs) == 3
    assert len({choice.message.content for choice in found.choices}) > 1


def test_json_object(client: openai.OpenAI) -> None:
    found = ask(client, response_format={"type": "json_object"}, max_tokens=40, temperature=0).choices[0]
    assert found.message.content.startswith("{")
    # A bias towards the closing brace has the object end at once.
    brace = {token("}"): 100}
    ended = ask(client, response_format={"type": "json_object"}, logit_bias=brace, temperature=0).choices[0]
    assert json.loads(ended.message.content) == {}
    assert ended.finish_reason == "stop"


def token(character: str) -> str:
    """The id of the tiny model's token that says a printable character: they follow three special ones in order."""
    return str(3 + ord(character) - ord("!"))


UNENFORCEABLE: list[Any] = [
    {"type": "array", "uniqueItems": True},
    {"type": "nonsense"},
    {"$ref": "http://127.0.0.1:9/schema.json"},
    {"type": "string", "pattern": "(?=a)b"},
]


@pytest.mark.parametrize("schema", UNENFORCEABLE, ids=lambda schema: next(iter(schema)))
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_enforced_is_refused_before_the_first_byte(
    client: openai.OpenAI, schema: Any, stream: bool
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, response_format=form, stream=stream)
    assert caught.value.param == "response_format"
    assert "cannot be enforced" in str(caught.value.body)


def test_a_form_needs_its_schema(client: openai.OpenAI) -> None:
    for form in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}}, {"type": "xml"}):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, response_format=form)
        assert str(caught.value.param).startswith("response_format")


def test_penalties_and_biases(client: openai.OpenAI) -> None:
    ahead = {token("A"): 100, token("B"): 100}
    plain = ask(client, logit_bias=ahead, temperature=0, max_tokens=20).choices[0].message.content
    spread = ask(client, logit_bias=ahead, temperature=0, max_tokens=20, frequency_penalty=2).choices[0]
    assert len(set(spread.message.content)) == 2
    assert len(set(plain)) <= 2
    rewarded = ask(client, logit_bias=ahead, temperature=0, max_tokens=20, presence_penalty=-2).choices[0]
    assert set(rewarded.message.content) <= set(spread.message.content)
    for wrong in ({"logit_bias": {"5000": 1}}, {"logit_bias": {"5": 101}}, {"logit_bias": {"x": 1}}):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, **wrong)
        assert str(caught.value.param).startswith("logit_bias")


def test_cached_prompt_tokens_are_counted(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "The same long question, word for word. " * 8}]
    first = ask(client, messages=long, max_tokens=2).usage
    again = ask(client, messages=long, max_tokens=2).usage
    assert 0 < again.prompt_tokens_details.cached_tokens < again.prompt_tokens == first.prompt_tokens
    assert again.completion_tokens_details.reasoning_tokens == 0
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(ask(client, messages=long, max_tokens=2, **options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0


def test_the_platform_s_own_fields_are_taken(client: openai.OpenAI) -> None:
    found = ask(
        client,
        max_completion_tokens=2,
        user="u",
        store=True,
        metadata={"a": "b"},
        service_tier="auto",
        prompt_cache_key="k",
        safety_identifier="s",
        prediction={"type": "content", "content": "x"},
        verbosity="low",
        reasoning_effort="low",
        modalities=["text"],
        web_search_options={},
        top_p=0,
    )
    assert found.choices[0].finish_reason == "length"
    assert found.usage.completion_tokens == 2
