"""Failures reach the official client as its own exceptions."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.e2e.openai.evals import ended
from tests.e2e.openai.fine_tuning import chat_rows, upload


def test_an_unknown_address_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/no/such/thing", cast_to=object)
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_the_server_answers(client: openai.OpenAI) -> None:
    assert client.models.list().data[0].id == "base"


@pytest.fixture(scope="module")
def lists(server: Any) -> list[str]:
    """The address of every list that can be read on after an item."""
    with server.client() as client:
        job = client.fine_tuning.jobs.create(model="base", training_file=upload(client, chat_rows(4)))
        client.fine_tuning.jobs.cancel(job.id)
        config: Any = {"type": "custom", "item_schema": {"type": "object", "properties": {}}}
        check: Any = {"type": "string_check", "name": "c", "input": "a", "reference": "a", "operation": "eq"}
        made = client.evals.create(data_source_config=config, testing_criteria=[check])
        source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
        run = ended(client, made.id, client.evals.runs.create(made.id, data_source=source).id)
        said: Any = [{"role": "user", "content": "Hi"}]
        chat = client.chat.completions.create(model="base", messages=said, store=True, max_tokens=1)
        response = client.responses.create(model="base", input="Hi", max_output_tokens=16)
    below = (f"/fine_tuning/jobs/{job.id}", f"/evals/{made.id}/runs", f"/chat/completions/{chat.id}/messages")
    own = ("releases", "datasets", "runs", "recipes", "decisions", "routes", "keys")
    return [
        *("/files", "/batches", "/fine_tuning/jobs", "/evals", "/chat/completions", "/webhook_endpoints"),
        *(f"{below[0]}/events", f"{below[0]}/checkpoints", below[1], f"{below[1]}/{run.id}/output_items", below[2]),
        f"/responses/{response.id}/input_items",
        *(f"/tunesmith/{name}" for name in own),
    ]


def test_an_item_to_read_on_after_that_is_none_of_the_list_is_refused_alike(
    client: openai.OpenAI, lists: list[str]
) -> None:
    for place in lists:
        assert client.get(place, cast_to=dict[str, Any])["object"] == "list", place
        with pytest.raises(openai.APIStatusError) as caught:
            client.get(f"{place}?after=nothing", cast_to=object)
        refused = json.loads(caught.value.response.text)["error"]
        assert (caught.value.status_code, refused["param"]) == (400, "after"), (place, refused)
        assert refused["message"] == "Invalid value for 'after': no item of this list has the id 'nothing'.", place


CHAT = ("/chat/completions", {"model": "base", "messages": [{"role": "user", "content": "x"}]})
JOB = ("/fine_tuning/jobs", {"model": "base", "training_file": "file-x"})
COMPLETION = ("/completions", {"model": "base", "prompt": "x"})
EMBEDDING = ("/embeddings", {"model": "base"})
RESPONSE = ("/responses", {"model": "base", "input": "x"})
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]


@pytest.mark.parametrize(
    ("asked", "wrong", "param", "said"),
    [
        (CHAT, {"stop": ["a"] * 5}, "stop", "at most 4 items"),
        (CHAT, {"stop": [""]}, "stop[0]", "at least 1 character"),
        (CHAT, {"messages": IMAGE}, "messages[0].content[0]", "'image_url'"),
        (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema", "Missing required"),
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "Missing required",
        ),
        (CHAT, {"tool_choice": {"type": "function"}}, "tool_choice.function", "Missing required"),
        (JOB, {"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "greater than or equal to 1"),
        (
            JOB,
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
            "method.dpo.hyperparameters.beta",
            "less than or equal to 2",
        ),
        (JOB, {"integrations": [{"type": "wandb"}]}, "integrations[0].wandb", "Missing required"),
        (JOB, {"method": {"type": "supervised", "dpo": {}}}, "method.dpo", "no effect on the type 'supervised'"),
        (JOB, {"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 1}}, "hyperparameters", "use method"),
        (COMPLETION, {"n": 2, "best_of": 1}, "best_of", "must not be less than n"),
        (COMPLETION, {"best_of": 2, "stream": True}, "stream", "cannot be streamed"),
        (COMPLETION, {"stream_options": {"include_usage": True}}, "stream_options", "when stream is true"),
        (EMBEDDING, {"input": ["a"] * 2049}, "input", "at most 2048 items"),
        (EMBEDDING, {"input": [""]}, "input[0]", "at least 1 character"),
        (RESPONSE, {"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "Missing required"),
        (RESPONSE, {"metadata": {"k": "v" * 513}}, "metadata.k", "at most 512 characters"),
    ],
)
def test_one_fault_is_told_once_and_at_its_place(
    client: openai.OpenAI, asked: tuple[str, dict[str, Any]], wrong: dict[str, Any], param: str, said: str
) -> None:
    """Also where a field takes one of several forms: only of the form that was meant."""
    path, body = asked
    with pytest.raises(openai.BadRequestError) as refused:
        client.post(path, body={**body, **wrong}, cast_to=object)
    assert refused.value.param == param
    assert said in refused.value.body["message"]  # type: ignore[index]
    assert refused.value.body["message"].count("Invalid value") <= 1  # type: ignore[index]
    assert f"'{param}'" in refused.value.body["message"]  # type: ignore[index]


def test_a_value_of_no_allowed_form_is_told_all_forms(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"should be 'auto'.*should be a valid integer"):
        client.post(JOB[0], body={**JOB[1], "hyperparameters": {"n_epochs": "many"}}, cast_to=object)


def test_every_answer_says_its_id_version_and_time(client: openai.OpenAI) -> None:
    found = client.models.with_raw_response.list()
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nope")
    for headers in (found.headers, missing.value.response.headers):
        assert headers["x-request-id"].startswith("req_")
        assert headers["openai-version"] == "2020-10-01"
        assert int(headers["openai-processing-ms"]) >= 0
