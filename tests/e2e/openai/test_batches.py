"""/v1/batches with the official client, against a server started as a user starts it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.openai.conftest import start_server

CHAT = "/v1/chat/completions"
MANY = 600


def chat(number: int | str, **body: Any) -> dict[str, Any]:
    asked = {"model": "base", "messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 3}
    return {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": asked | body}


def begin(client: openai.OpenAI, rows: list[dict[str, Any]], endpoint: Any = CHAT, **options: Any) -> Any:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options)


def wait(client: openai.OpenAI, batch: Any, holds: Callable[[Any], bool], seconds: float = 150) -> Any:
    end = time.monotonic() + seconds
    while not holds(found := client.batches.retrieve(batch.id)):
        assert time.monotonic() < end, f"did not happen in time: {found}"
        time.sleep(0.05)
    return found


def ended(batch: Any) -> bool:
    return batch.status in ("completed", "failed", "cancelled", "expired")


def lines(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_batch_answers_every_request_once_and_in_order(client: openai.OpenAI) -> None:
    rows = [chat(1), chat(2, model="bass"), chat(3, temperature=9), chat("vier – 四"), chat(5, model=["base"])]
    begun = begin(client, rows, metadata={"night": "1"}, output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert begun.id.startswith("batch_")
    assert (begun.object, begun.status, begun.endpoint, begun.completion_window) == ("batch", "validating", CHAT, "24h")
    assert (begun.metadata, begun.expires_at - begun.created_at) == ({"night": "1"}, 24 * 3600)
    assert (begun.output_file_id, begun.error_file_id, begun.errors) == (None, None, None)
    done = wait(client, begun, ended)
    assert done.status == "completed"
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (5, 2, 3)
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    answers = lines(client, done.output_file_id)
    assert [answer["custom_id"] for answer in answers] == ["row-1", "row-vier – 四"]
    for answer in answers:
        assert set(answer) == {"id", "custom_id", "response", "error"}
        assert (answer["response"]["status_code"], answer["error"]) == (200, None)
        assert answer["response"]["request_id"].startswith("req_")
        body = answer["response"]["body"]
        assert (body["object"], len(body["choices"])) == ("chat.completion", 1)
    used = [answer["response"]["body"]["usage"] for answer in answers]
    assert done.usage is not None
    assert done.usage.input_tokens == sum(each["prompt_tokens"] for each in used)
    assert done.usage.output_tokens == sum(each["completion_tokens"] for each in used) > 0
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    unknown, wrong, listed = lines(client, done.error_file_id)
    assert (unknown["custom_id"], unknown["response"]["status_code"]) == ("row-2", 404)
    assert unknown["response"]["body"]["error"]["code"] == "model_not_found"
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("row-3", 400)
    assert wrong["response"]["body"]["error"]["param"] == "temperature"
    assert (listed["custom_id"], listed["response"]["body"]["error"]["param"]) == ("row-5", "model")
    output = client.files.retrieve(done.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{done.id}_output.jsonl")
    assert output.expires_at is not None


def test_the_answers_are_those_of_the_endpoint(client: openai.OpenAI) -> None:
    request = chat(1, temperature=0, max_tokens=8)
    done = wait(client, begin(client, [request]), ended)
    (answer,) = lines(client, done.output_file_id)
    direct = client.chat.completions.create(**request["body"])
    (choice,) = answer["response"]["body"]["choices"]
    assert choice["message"]["content"] == direct.choices[0].message.content
    assert choice["finish_reason"] == direct.choices[0].finish_reason
    assert done.model == "base"


def test_embeddings_in_a_batch(client: openai.OpenAI) -> None:
    bodies = [{"model": "base", "input": text, "encoding_format": "float"} for text in ("hello", ["a", "b"])]
    done, (one, two) = answered(client, "/v1/embeddings", [*bodies, {"model": "base", "input": []}])
    direct = client.embeddings.create(model="base", input="hello", encoding_format="float")
    assert (one["object"], len(two["data"])) == ("list", 2)
    assert one["data"][0]["embedding"] == pytest.approx(direct.data[0].embedding, abs=1e-5)
    assert done.usage.input_tokens == direct.usage.prompt_tokens + two["usage"]["prompt_tokens"]
    assert done.usage.output_tokens == 0


def test_completions_in_a_batch(client: openai.OpenAI) -> None:
    body = {"model": "base", "prompt": ["Once", "Twice"], "max_tokens": 4, "temperature": 0, "logprobs": 1}
    done, (answer,) = answered(client, "/v1/completions", [body, {"model": "base", "prompt": "a", "max_tokens": -1}])
    direct = client.completions.create(**body)
    assert answer["object"] == "text_completion"
    assert [choice["text"] for choice in answer["choices"]] == [choice.text for choice in direct.choices]
    assert answer["choices"][0]["logprobs"]["tokens"] == direct.choices[0].logprobs.tokens
    used = direct.usage
    assert (done.usage.input_tokens, done.usage.output_tokens) == (used.prompt_tokens, used.completion_tokens)


def test_responses_in_a_batch(client: openai.OpenAI) -> None:
    body = {"model": "base", "input": "Hello", "max_output_tokens": 16, "temperature": 0}
    done, (answer,) = answered(client, "/v1/responses", [body, {**body, "tools": [{"type": "web_search"}]}])
    direct = client.responses.create(**body)
    assert (answer["object"], answer["status"]) == ("response", direct.status)
    assert [part["text"] for item in answer["output"] for part in item["content"]] == [direct.output_text]
    used = direct.usage
    assert (done.usage.input_tokens, done.usage.output_tokens) == (used.input_tokens, used.output_tokens)
    follow = client.responses.create(**body | {"previous_response_id": answer["id"]})  # it is kept like any other
    assert follow.usage.input_tokens > used.input_tokens


def test_moderations_in_a_batch(client: openai.OpenAI) -> None:
    bodies = [{"input": "I will kill you tomorrow"}, {"input": ["a fine day", "I want to kill myself"]}, {"input": 5}]
    done, answers = answered(client, "/v1/moderations", bodies)
    for body, answer in zip(bodies, answers, strict=False):
        direct = client.moderations.create(**body)
        assert answer["model"] == direct.model
        assert answer["results"] == [each.model_dump(by_alias=True) for each in direct.results]
    assert [each["flagged"] for each in answers[1]["results"]] == [False, True]
    assert done.usage.total_tokens == 0


def answered(client: openai.OpenAI, endpoint: str, bodies: list[dict[str, Any]]) -> tuple[Any, list[Any]]:
    """The ended batch and the bodies of its answers in order; the last request must have failed with 400, alone."""
    rows = [
        {"custom_id": f"row-{number}", "method": "POST", "url": endpoint, "body": body}
        for number, body in enumerate(bodies)
    ]
    done = wait(client, begin(client, rows, endpoint), ended)
    assert (done.status, done.endpoint) == ("completed", endpoint)
    assert (done.request_counts.completed, done.request_counts.failed) == (len(rows) - 1, 1)
    (refused,) = lines(client, done.error_file_id)
    assert (refused["custom_id"], refused["response"]["status_code"]) == (rows[-1]["custom_id"], 400)
    assert set(refused["response"]["body"]["error"]) == {"message", "type", "param", "code"}
    found = lines(client, done.output_file_id)
    assert [line["custom_id"] for line in found] == [row["custom_id"] for row in rows[:-1]]
    assert all(line["response"]["status_code"] == 200 and line["error"] is None for line in found)
    return done, [line["response"]["body"] for line in found]


def test_a_file_that_does_not_fit_the_endpoint_fails_with_its_lines(client: openai.OpenAI) -> None:
    done = wait(client, begin(client, [chat(1), chat(2, stream=True)], "/v1/completions"), ended)
    assert (done.status, done.output_file_id, done.error_file_id) == ("failed", None, None)
    assert done.failed_at is not None
    assert done.errors is not None
    assert done.errors.data is not None
    found = [(each.line, each.code, each.param) for each in done.errors.data]
    mismatches = [(1, "mismatched_url", "url"), (2, "mismatched_url", "url")]
    assert found == [*mismatches, (2, "stream_not_offered", "body.stream")]


def test_wrong_requests_are_refused(client: openai.OpenAI) -> None:
    training = client.files.create(file=("a.jsonl", b'{"prompt": "a", "completion": "b"}'), purpose="fine-tune").id
    good = client.files.create(file=("a.jsonl", json.dumps(chat(1)).encode()), purpose="batch").id
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"input_file_id": training}, "input_file_id"),
        ({"endpoint": "/v1/files"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
        ({"extra_body": {"priority": 1}}, "priority"),
    ]
    for options, param in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.create(**{"input_file_id": good, "endpoint": CHAT, "completion_window": "24h", **options})
        assert caught.value.param == param
    for action in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="batch_none"):
            action("batch_none")


def test_batches_are_listed_newest_first(client: openai.OpenAI) -> None:
    made = [begin(client, [chat(number)]).id for number in range(3)][::-1]
    assert [batch.id for batch in client.batches.list(limit=1)][:3] == made  # the client pages on by itself
    assert [batch.id for batch in client.batches.list(after=made[0], limit=1).data] == [made[1]]
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.list(after="batch_none")
    assert caught.value.param == "after"


def test_a_cancelled_batch_keeps_what_was_answered(client: openai.OpenAI) -> None:
    begun = begin(client, [chat(number) for number in range(MANY)])
    wait(client, begun, lambda batch: batch.request_counts.completed > 3)
    assert client.batches.cancel(begun.id).status == "cancelling"
    done = wait(client, begun, ended)
    assert done.status == "cancelled"
    assert done.cancelling_at <= done.cancelled_at
    assert 3 < done.request_counts.completed < done.request_counts.total == MANY
    assert len(lines(client, done.output_file_id)) == done.request_counts.completed
    assert done.error_file_id is None
    with pytest.raises(openai.BadRequestError, match="it is cancelled"):
        client.batches.cancel(begun.id)


def test_a_batch_goes_on_after_a_kill_and_answers_nothing_twice(tiny_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        begun = begin(client, [chat(number) for number in range(MANY)])
        wait(client, begun, lambda batch: batch.request_counts.completed >= 20)
        running.process.kill()
        running.process.wait()
    with sqlite3.connect(home / "registry.db") as connection:
        stored = [json.loads(text) for (text,) in connection.execute("SELECT content FROM batch_results ORDER BY line")]
    connection.close()
    assert 20 <= len(stored) < MANY
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        done = wait(client, begun, ended)
        assert (done.status, done.request_counts.completed) == ("completed", MANY)
        answers = lines(client, done.output_file_id)
        assert [answer["custom_id"] for answer in answers] == [f"row-{number}" for number in range(MANY)]
        by_id = {answer["custom_id"]: answer for answer in answers}
        assert [by_id[answer["custom_id"]] for answer in stored] == stored  # the very answers from before the kill


def test_the_example_of_the_documentation(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api" / "batches.md").read_text(encoding="utf-8")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert "row-1 200" in capsys.readouterr().out
