"""Evals through the official client: rows with and without answers, counts, cancelling, a killed server."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.eval_create_response import EvalCreateResponse

from tests.e2e.openai.conftest import Running, start_server
from tests.e2e.openai.evals import counts, ended
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.types.files import FileDetails

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
CLOSE = {
    "type": "text_similarity",
    "name": "close",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
    "pass_threshold": 0.6,
}
TEMPLATE = {"type": "template", "template": [{"role": "user", "content": "Answer: {{item.question}}"}]}


def make(client: openai.OpenAI, *criteria: Any, **more: Any) -> EvalCreateResponse:
    config: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
    return client.evals.create(data_source_config=config, testing_criteria=list(criteria or (EXACT,)), **more)


def row(question: str, answer: str, said: str | None = None) -> dict[str, Any]:
    item = {"item": {"question": question, "answer": answer}}
    return item if said is None else {**item, "sample": {"output_text": said}}


def jsonl(*rows: dict[str, Any]) -> Any:
    return {"type": "jsonl", "source": {"type": "file_content", "content": list(rows)}}


def completions(*rows: dict[str, Any], **more: Any) -> Any:
    source = {"type": "file_content", "content": list(rows)}
    return {"type": "completions", "source": source, "model": "base", "input_messages": TEMPLATE, **more}


def test_an_eval_is_made_listed_changed_and_deleted(client: openai.OpenAI) -> None:
    made = [make(client, name=f"eval {number}", metadata={"n": str(number)}) for number in range(3)]
    assert made[0].id.startswith("eval_")
    assert (made[0].object, made[0].name, made[0].metadata) == ("eval", "eval 0", {"n": "0"})
    assert made[0].data_source_config.to_dict()["schema"]["properties"]["item"] == SCHEMA  # type: ignore[index]
    assert made[0].testing_criteria[0].name == "exact"
    listed = [one.id for one in client.evals.list(order="desc", limit=2)]
    assert listed[:3] == [one.id for one in reversed(made)]
    time.sleep(1.1)  # times are whole seconds
    changed = client.evals.update(made[0].id, name="other")
    assert (changed.name, changed.metadata) == ("other", {"n": "0"})
    assert next(iter(client.evals.list(order="desc", order_by="updated_at"))).id == made[0].id
    assert client.evals.delete(made[1].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.evals.retrieve(made[1].id)
    assert made[1].id not in [one.id for one in client.evals.list(order="desc", limit=1)]


def test_a_run_over_given_answers_counts_what_passed(client: openai.OpenAI) -> None:
    found = make(client, EXACT, CLOSE)
    rows = jsonl(row("a", "paid", "paid"), row("b", "late", "lates"), row("c", "x", "entirely else"))
    started = client.evals.runs.create(found.id, name="first", data_source=rows, metadata={"k": "v"})
    assert (started.object, started.status in ("queued", "in_progress"), started.model) == ("eval.run", True, "")
    run = ended(client, found.id, started.id)
    assert (run.status, run.name, run.metadata, run.error) == ("completed", "first", {"k": "v"}, None)
    assert counts(run) == (3, 1, 2, 0)
    by_name = {
        one.testing_criteria.rsplit("-", 1)[0]: (one.passed, one.failed) for one in run.per_testing_criteria_results
    }
    assert by_name == {"exact": (1, 2), "close": (2, 1)}
    assert run.report_url.endswith(f"/v1/evals/{found.id}/runs/{run.id}")
    items = list(client.evals.runs.output_items.list(run.id, eval_id=found.id, limit=2))
    assert [item.datasource_item_id for item in items] == [0, 1, 2]
    assert [item.status for item in items] == ["pass", "fail", "fail"]
    assert items[1].sample.output[0].content == "lates"
    # "late" against "lates": indel distance 1 of 9 characters
    assert [round(one.score, 6) for one in items[1].results] == [0.0, round(8 / 9, 6)]
    assert items[1].datasource_item == {"question": "b", "answer": "late"}
    failed = client.evals.runs.output_items.list(run.id, eval_id=found.id, status="fail")
    assert [item.id for item in failed] == [items[1].id, items[2].id]
    one = client.evals.runs.output_items.retrieve(items[0].id, eval_id=found.id, run_id=run.id)
    assert (one.object, one.run_id, one.results[0].passed) == ("eval.run.output_item", run.id, True)


def test_a_model_answers_the_rows(client: openai.OpenAI) -> None:
    length = {
        "type": "python",
        "name": "spoke",
        "source": "def grade(sample, item):\n    return float(len(sample['output_text']) > 0)\n",
    }
    found = make(client, length)
    params = {"max_completion_tokens": 6, "temperature": 0, "seed": 3}
    source = completions(row("one", "1"), row("two", "2"), sampling_params=params)
    run = ended(client, found.id, client.evals.runs.create(found.id, data_source=source).id)
    assert (run.status, run.model, run.result_counts.errored) == ("completed", "base", 0)
    (usage,) = run.per_model_usage
    assert (usage.run_model_name, usage.invocation_count) == ("base", 2)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    items = list(client.evals.runs.output_items.list(run.id, eval_id=found.id))
    assert [item.sample.input[0].content for item in items] == ["Answer: one", "Answer: two"]
    expected = client.chat.completions.create(
        model="base", messages=[{"role": "user", "content": "Answer: one"}], max_tokens=6, temperature=0, seed=3
    )
    assert items[0].sample.output[0].content == expected.choices[0].message.content
    assert items[0].sample.usage.completion_tokens == expected.usage.completion_tokens  # type: ignore[union-attr]
    assert (items[0].sample.temperature, items[0].sample.seed, items[0].sample.max_completion_tokens) == (0, 3, 6)
    assert sum(item.sample.usage.total_tokens for item in items) == usage.total_tokens


def test_rows_may_bring_their_messages_and_lie_in_a_file(server: Running, client: openai.OpenAI) -> None:
    talk = [{"role": "user", "content": "Say something"}]
    lines = [json.dumps({"item": {"question": "q", "answer": "a", "talk": talk}}) for _ in range(3)]
    files = FileStore(Database(f"sqlite:///{server.home / 'registry.db'}"), server.home / "files")
    details = FileDetails(project="default", filename="rows.jsonl", purpose="evals")
    file = files.add(details, "\n".join(lines).encode())
    found = make(client)
    source: Any = {
        "type": "completions",
        "source": {"type": "file_id", "id": file.id},
        "model": "base",
        "input_messages": {"type": "item_reference", "item_reference": "item.talk"},
        "sampling_params": {"max_completion_tokens": 2},
    }
    run = ended(client, found.id, client.evals.runs.create(found.id, data_source=source).id)
    assert counts(run) == (3, 0, 3, 0)
    items = list(client.evals.runs.output_items.list(run.id, eval_id=found.id))
    assert items[2].sample.input[0].content == "Say something"


def test_what_cannot_be_graded_is_errored_and_not_failed(client: openai.OpenAI) -> None:
    broken = {"type": "python", "name": "broken", "source": "def grade(sample, item):\n    return 1 / 0\n"}
    found = make(client, EXACT, broken)
    run = ended(client, found.id, client.evals.runs.create(found.id, data_source=jsonl(row("a", "x", "x"))).id)
    assert counts(run) == (1, 0, 0, 1)
    (item,) = client.evals.runs.output_items.list(run.id, eval_id=found.id)
    assert item.status == "error"
    assert [one.passed for one in item.results] == [True, False]
    assert "ZeroDivisionError" in str(item.results[1].to_dict()["error_details"])


def test_an_answer_that_fails_is_errored_with_its_reason(client: openai.OpenAI) -> None:
    found = make(client)
    source = completions(row("too long " * 3000, "1"), row("fine", "2"), sampling_params={"max_completion_tokens": 2})
    run = ended(client, found.id, client.evals.runs.create(found.id, data_source=source).id)
    assert counts(run) == (2, 0, 1, 1)
    first = next(iter(client.evals.runs.output_items.list(run.id, eval_id=found.id)))
    assert (first.status, first.sample.error.code) == ("error", "context_length_exceeded")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            jsonl({"item": {"question": "q"}, "sample": {"output_text": "x"}}),
            "Row 0 .* 'answer' is a required property",
        ),
        (jsonl(row("q", "a")), "Row 0 .* has no sample, and a criterion reads"),
        ({"type": "jsonl", "source": {"type": "file_content", "content": []}}, "content"),
        ({"type": "jsonl", "source": {"type": "stored_completions"}}, "type must be file_content or file_id"),
        ({"type": "images", "source": {"type": "file_content"}}, "type must be jsonl, completions or responses"),
        ({"type": "completions", "source": {"type": "responses"}}, "be file_content, file_id or stored_completions"),
        ({"type": "responses", "source": {"type": "stored_completions"}}, "be file_content, file_id or responses"),
        ({"type": "responses", "source": {"type": "responses", "reasoning_effort": "low"}}, "leave it out"),
        ({"type": "responses", "source": {"type": "responses", "limit": 10_001}}, "less than or equal to 10000"),
        (
            {**completions(row("q", "a"), sampling_params={"tools": [{"type": "web_search"}]}), "type": "responses"},
            "should be 'function'",
        ),
        (completions(row("q", "a"), sampling_params={"temperature": 3}), "temperature"),
        (
            {
                **completions(row("q", "a")),
                "input_messages": {
                    "type": "template",
                    "template": [{"role": "user", "content": "{{sample.output_text}}"}],
                },
            },
            "come before the sample",
        ),
        ({k: v for k, v in completions(row("q", "a")).items() if k != "model"}, "give both to ask the model"),
        (
            {**completions(row("q", "a"), sampling_params={"seed": 1}), "model": None, "input_messages": None},
            "no model is given; leave them out",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_at_once(client: openai.OpenAI, source: Any, message: str) -> None:
    found = make(client)
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.evals.runs.create(found.id, data_source=source)
    assert str(caught.value.param).startswith("data_source")


def test_unknown_things_are_not_found(client: openai.OpenAI) -> None:
    found = make(client)
    with pytest.raises(openai.NotFoundError) as model:
        client.evals.runs.create(found.id, data_source={**completions(row("q", "a")), "model": "nobody"})
    assert model.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.create(found.id, data_source={"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}})
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.create("eval_unknown", data_source=jsonl(row("q", "a", "a")))
    run = ended(client, found.id, client.evals.runs.create(found.id, data_source=jsonl(row("q", "a", "a"))).id)
    other = make(client)
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.retrieve(run.id, eval_id=other.id)


@pytest.mark.parametrize(
    ("config", "criteria", "message"),
    [
        ({"type": "custom", "item_schema": {"type": "nonsense"}}, [EXACT], "no JSON Schema"),
        (
            {"type": "custom", "item_schema": {"properties": {"a": {"pattern": "(a+)+$"}}}},
            [EXACT],
            "pattern is not offered",
        ),
        ({"type": "files"}, [EXACT], "type must be custom, logs or stored_completions"),
        ({"type": "logs", "metadata": {"team": "x" * 513}}, [EXACT], "data_source_config.metadata.team"),
        ({"type": "custom", "item_schema": {}}, [], "testing_criteria"),
        ({"type": "custom", "item_schema": {}}, [{**EXACT, "input": "{{nothing}}"}], "is no placeholder"),
        (
            {"type": "custom", "item_schema": {}},
            [{k: v for k, v in CLOSE.items() if k != "pass_threshold"}],
            "pass_threshold",
        ),
    ],
)
def test_evals_that_cannot_work_are_refused(client: openai.OpenAI, config: Any, criteria: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.evals.create(data_source_config=config, testing_criteria=criteria)


def test_runs_are_listed_by_status_and_deleted(client: openai.OpenAI) -> None:
    found = make(client)
    runs = [client.evals.runs.create(found.id, data_source=jsonl(row("q", "a", "a"))).id for _ in range(3)]
    for identity in runs:
        ended(client, found.id, identity)
    assert [one.id for one in client.evals.runs.list(found.id, limit=2)] == runs
    assert [one.id for one in client.evals.runs.list(found.id, status="completed", order="desc")] == runs[::-1]
    assert list(client.evals.runs.list(found.id, status="failed")) == []
    with pytest.raises(openai.BadRequestError, match="is completed and cannot be canceled"):
        client.evals.runs.cancel(runs[0], eval_id=found.id)
    assert client.evals.runs.delete(runs[0], eval_id=found.id).deleted
    assert [one.id for one in client.evals.runs.list(found.id)] == runs[1:]


def test_a_run_whose_key_is_revoked_stops(server: Running, client: openai.OpenAI) -> None:
    made = client.post("/tunesmith/keys", body={"role": "member", "project": "gone"}, cast_to=dict[str, Any])
    watching = client.post("/tunesmith/keys", body={"role": "read", "project": "gone"}, cast_to=dict[str, Any])
    rows = [row(f"question {number}", "a") for number in range(200)]
    params = {"max_completion_tokens": 100, "temperature": 1, "seed": 1}
    with server.client(api_key=made["key"]) as theirs, server.client(api_key=watching["key"]) as reader:
        found = make(theirs)
        going = theirs.evals.runs.create(found.id, data_source=completions(*rows, sampling_params=params))
        client.delete(f"/tunesmith/keys/{made['id']}", cast_to=object)
        run = ended(reader, found.id, going.id)
    assert (run.status, run.error.code) == ("failed", "invalid_api_key")
    assert "was revoked" in run.error.message


def test_a_canceled_run_stops_and_a_killed_server_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    rows = [row(f"question {number}", "a") for number in range(60)]
    params = {"max_completion_tokens": 100, "temperature": 1, "seed": 1}
    with start_server(tmp_path, tiny_base) as first, first.client() as client:
        found = make(client)
        stopped = client.evals.runs.create(found.id, data_source=completions(*rows, sampling_params=params))
        assert client.evals.runs.cancel(stopped.id, eval_id=found.id).status == "canceled"
        going = client.evals.runs.create(found.id, data_source=completions(*rows, sampling_params=params))
        while not (seen := client.evals.runs.retrieve(going.id, eval_id=found.id).result_counts).failed:
            time.sleep(0.05)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(timeout=30)
        assert seen.failed < len(rows)
    with start_server(tmp_path, tiny_base) as second, second.client() as client:
        run = ended(client, found.id, going.id)
        assert (run.status, counts(run)) == ("completed", (60, 0, 60, 0))
        items = list(client.evals.runs.output_items.list(run.id, eval_id=found.id, limit=100))
        assert sorted(item.datasource_item_id for item in items) == list(range(60))
        canceled = client.evals.runs.retrieve(stopped.id, eval_id=found.id)
        assert canceled.status == "canceled"
        assert canceled.result_counts.failed < 60
