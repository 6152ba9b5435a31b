"""Evals of stored chats and responses through the official client: graded as they are, or a model asked the same."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.evals import RunRetrieveResponse

from tests.e2e.openai.evals import counts, ended

ASKED: Any = [{"role": "system", "content": "Short."}, {"role": "user", "content": "Where is my card?"}]
CLOCK: Any = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}
SAMPLING = {"temperature": 0, "max_completion_tokens": 4}
SAME: Any = {"type": "item_reference", "item_reference": "item.input"}


def chat(client: openai.OpenAI, **options: Any) -> Any:
    asked = {"model": "base", "messages": ASKED, "max_tokens": 4, "temperature": 0, "store": True}
    return client.chat.completions.create(**asked | options)


def respond(client: openai.OpenAI, **options: Any) -> Any:
    asked = {"model": "base", "input": "Where is my card?", "max_output_tokens": 4, "temperature": 0}
    return client.responses.create(**asked | options)


def check(name: str, given: str, reference: str) -> Any:
    return {"type": "string_check", "name": name, "input": given, "reference": reference, "operation": "eq"}


def make(client: openai.OpenAI, *criteria: Any, kind: str = "logs", **config: Any) -> Any:
    return client.evals.create(data_source_config={"type": kind, **config}, testing_criteria=list(criteria))


def chats(**filters: Any) -> Any:
    return {"type": "completions", "source": {"type": "stored_completions", **filters}}


def responses(**filters: Any) -> Any:
    return {"type": "responses", "source": {"type": "responses", **filters}}


def run(client: openai.OpenAI, eval_id: str, source: Any) -> tuple[RunRetrieveResponse, list[Any]]:
    """A run at its end, and its items, two a page."""
    found = ended(client, eval_id, client.evals.runs.create(eval_id, data_source=source).id)
    assert found.status == "completed", found.error
    return found, list(client.evals.runs.output_items.list(found.id, eval_id=eval_id, limit=2))


@pytest.mark.parametrize("kind", ["logs", "stored_completions"])
def test_stored_chats_of_the_evals_metadata_are_graded_as_they_are(mine: openai.OpenAI, kind: str) -> None:
    teams = ["cards", "loans", "cards", "cards"]
    answers = [chat(mine, metadata={"team": team}) for team in teams]
    first = answers[0]
    echo = check("echo", "{{sample.output_text}}", "{{item.output[0].content}}")
    found = make(mine, echo, check("first", "{{item.id}}", first.id), kind=kind, metadata={"team": "cards"})
    config = mine.evals.retrieve(found.id).data_source_config
    assert (config.type, config.to_dict()["metadata"]) == (kind, {"team": "cards"})
    ran, items = run(mine, found.id, chats())
    assert counts(ran) == (3, 1, 2, 0)
    assert (ran.model, ran.per_model_usage) == ("", [])
    assert [item.datasource_item["id"] for item in items] == [answers[place].id for place in (0, 2, 3)]
    assert [item.datasource_item_id for item in items] == [0, 1, 2]
    assert [[result.passed for result in item.results] for item in items] == [
        [True, True],
        [True, False],
        [True, False],
    ]
    sample, row = items[0].sample, items[0].datasource_item
    assert [(one.role, one.content) for one in sample.input] == [("system", "Short."), ("user", "Where is my card?")]
    assert sample.output[0].content == first.choices[0].message.content
    assert (sample.model, sample.finish_reason) == ("base", first.choices[0].finish_reason)
    assert (row["input"], row["metadata"], row["created_at"]) == (ASKED, {"team": "cards"}, first.created)


def test_a_run_takes_what_its_filters_want_and_nothing_that_came_later(mine: openai.OpenAI) -> None:
    old = chat(mine, metadata={"lang": "en"})
    new = chat(mine, metadata={"lang": "en", "rated": "good"})
    found = make(mine, check("model", "{{item.model}}", "base"))
    everything = mine.evals.runs.create(found.id, data_source=chats())
    chat(mine)
    assert counts(ended(mine, found.id, everything.id)) == (2, 2, 0, 0)

    def taken(**filters: Any) -> list[str]:
        return [item.datasource_item["id"] for item in run(mine, found.id, chats(**filters))[1]]

    assert taken(metadata={"rated": "good"}) == [new.id]
    assert taken(metadata={"lang": "en"}, limit=1) == [new.id]
    assert taken(metadata={"lang": "en"}, model="base", created_after=old.created) == [old.id, new.id]
    for filters in ({"model": "another"}, {"created_before": old.created - 1}, {"metadata": {"rated": "bad"}}):
        with pytest.raises(openai.BadRequestError, match=r"No stored chat completion .* store: true") as caught:
            mine.evals.runs.create(found.id, data_source=chats(**filters))
        assert caught.value.param == "data_source.source"


def test_a_model_is_asked_what_was_asked_then(mine: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "What "}, {"type": "text", "text": "time?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12:00", "tool_call_id": "call_1"},
    ]
    answers = [chat(mine), chat(mine, messages=talk)]
    found = make(mine, check("same", "{{sample.output_text}}", "{{item.output[0].content}}"))
    ran, items = run(mine, found.id, {**chats(), "model": "base", "input_messages": SAME, "sampling_params": SAMPLING})
    assert (ran.model, counts(ran)) == ("base", (2, 2, 0, 0))
    used = [answer.usage.prompt_tokens for answer in answers]
    assert [item.sample.usage.prompt_tokens for item in items] == used
    assert (ran.per_model_usage[0].invocation_count, ran.per_model_usage[0].prompt_tokens) == (2, sum(used))
    assert [one.content for one in items[1].sample.input] == ["What time?", "", "12:00"]
    assert items[1].sample.input[1].to_dict()["tool_calls"] == [call]


def test_stored_responses_are_found_by_what_they_were_asked_with(mine: openai.OpenAI) -> None:
    plain = respond(mine)
    told = respond(mine, instructions="Be SHORT, please", metadata={"team": "cards"}, user="ann")
    warm = respond(mine, temperature=0.5, top_p=0.25, tools=[CLOCK])
    respond(mine, store=False)
    chat(mine)
    found = make(mine, check("echo", "{{sample.output_text}}", "{{item.output[0].content[0].text}}"))

    def taken(**filters: Any) -> list[str]:
        ran, items = run(mine, found.id, responses(**filters))
        assert ran.result_counts.passed == len(items)
        return [item.datasource_item["id"] for item in items]

    # Those of one second have no order in time.
    assert sorted(taken(model="base", created_after=plain.created_at)) == sorted([plain.id, told.id, warm.id])
    wanted: list[tuple[dict[str, Any], Any]] = [
        ({"instructions_search": "be short"}, told),
        ({"metadata": {"team": "cards"}}, told),
        ({"users": ["bob", "ann"]}, told),
        ({"temperature": 0.5}, warm),
        ({"top_p": 0.25}, warm),
        ({"tools": ["clock", "calendar"]}, warm),
    ]
    for filters, response in wanted:
        assert taken(**filters) == [response.id], filters
    for nothing in ({"temperature": 0.5, "users": ["ann"]}, {"tools": ["calendar"]}, {"model": "another"}):
        with pytest.raises(openai.BadRequestError, match="No stored response fits"):
            mine.evals.runs.create(found.id, data_source=responses(**nothing))


def test_a_response_is_shown_and_asked_again_with_what_it_went_on_from(mine: openai.OpenAI) -> None:
    first = respond(mine, input="My card is lost")
    second = respond(mine, previous_response_id=first.id, instructions="Be kind", metadata={"turn": "2"})
    found = make(mine, check("same", "{{sample.output_text}}", second.output_text), metadata={"turn": "2"})
    kept, shown = run(mine, found.id, responses())
    expected = [
        ("system", "Be kind"),
        ("user", "My card is lost"),
        ("assistant", first.output_text),
        ("user", "Where is my card?"),
    ]
    assert counts(kept) == (1, 1, 0, 0)
    assert [(one.role, one.content) for one in shown[0].sample.input] == expected
    assert shown[0].sample.finish_reason == ("length" if second.status == "incomplete" else "stop")
    source = {**responses(), "model": "base", "input_messages": SAME, "sampling_params": SAMPLING}
    asked, again = run(mine, found.id, source)
    assert counts(asked) == (1, 1, 0, 0)
    assert [(one.role, one.content) for one in again[0].sample.input] == expected
    assert again[0].sample.usage.prompt_tokens == second.usage.input_tokens
    mine.responses.delete(first.id)
    lost, items = run(mine, found.id, responses())
    assert counts(lost) == (1, 0, 0, 1)
    assert (items[0].status, items[0].sample.error.code, items[0].sample.output) == ("error", "not_found", [])
    assert first.id in items[0].sample.error.message


def test_calls_of_a_stored_response_are_graded_as_those_of_a_chat(mine: openai.OpenAI) -> None:
    made = respond(mine, tools=[CLOCK], tool_choice={"type": "function", "name": "clock"}, max_output_tokens=99)
    assert made.output[0].type == "function_call"
    found = make(mine, check("clock", "{{sample.output_tools[0].function.name}}", "clock"))
    ran, (item,) = run(mine, found.id, responses())
    assert counts(ran) == (1, 1, 0, 0)
    (call,) = item.sample.output[0].to_dict()["tool_calls"]
    assert (call["id"], call["function"]["arguments"]) == (made.output[0].call_id, made.output[0].arguments)


def test_rows_are_answered_by_responses(client: openai.OpenAI) -> None:
    config: Any = {"type": "custom", "item_schema": {"type": "object", "required": ["question"]}}
    grade = (
        "import json\n\ndef grade(sample, item):\n    return float(json.loads(sample['output_text']) == {'ok': True})\n"
    )
    criterion: Any = {"type": "python", "name": "form", "source": grade}
    found = client.evals.create(data_source_config=config, testing_criteria=[criterion])
    schema = {
        "type": "object",
        "properties": {"ok": {"const": True}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "name": "form", "schema": schema}}
    source: Any = {
        "type": "responses",
        "model": "base",
        "source": {"type": "file_content", "content": [{"item": {"question": "one"}}, {"item": {"question": "two"}}]},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "Is {{item.question}} ok?"}]},
        "sampling_params": {"text": form, "max_completion_tokens": 40, "temperature": 1, "seed": 7},
    }
    ran, items = run(client, found.id, source)
    assert (ran.model, counts(ran)) == ("base", (2, 2, 0, 0))
    assert ran.data_source.to_dict()["sampling_params"]["text"] == form
    assert json.loads(items[0].sample.output[0].content) == {"ok": True}
    assert [item.sample.input[0].content for item in items] == ["Is one ok?", "Is two ok?"]
    assert (items[0].sample.seed, items[0].sample.max_completion_tokens) == (7, 40)
    assert items[0].sample.usage.total_tokens > items[0].sample.usage.prompt_tokens > 0
    del source["sampling_params"]["text"]
    _, free = run(client, found.id, source)
    expected = respond(client, input="Is one ok?", max_output_tokens=40, temperature=1, extra_body={"seed": 7})
    assert free[0].sample.output[0].content == expected.output_text


def test_an_eval_of_its_own_schema_checks_stored_chats_at_once(mine: openai.OpenAI) -> None:
    chat(mine, metadata={"team": "cards"})
    labelled = {"type": "object", "required": ["team"]}
    for required, fits in ((["metadata"], True), (["question"], False)):
        schema = {"type": "object", "properties": {"metadata": labelled}, "required": required}
        config: Any = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
        criterion: Any = check("team", "{{item.metadata.team}}", "cards")
        found = mine.evals.create(data_source_config=config, testing_criteria=[criterion])
        if fits:
            assert counts(run(mine, found.id, chats())[0]) == (1, 1, 0, 0)
            continue
        with pytest.raises(openai.BadRequestError, match=r"Row 0 .* 'question' is a required property"):
            mine.evals.runs.create(found.id, data_source=chats())


def test_another_projects_answers_are_none(mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    chat(mine, metadata={"team": "cards"})
    respond(mine, metadata={"team": "cards"})
    own = chat(theirs, metadata={"team": "loans"})
    found = make(theirs, check("model", "{{item.model}}", "base"))
    assert [item.datasource_item["id"] for item in run(theirs, found.id, chats())[1]] == [own.id]
    for source in (chats(metadata={"team": "cards"}), responses(metadata={"team": "cards"}), responses()):
        with pytest.raises(openai.BadRequestError, match="No stored"):
            theirs.evals.runs.create(found.id, data_source=source)
