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
