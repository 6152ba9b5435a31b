"""What is refused, listed, repeated and spelled in another way; no job is carried out here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.openai.conftest import Running, start_server
from tests.e2e.openai.fine_tuning import SMALL, chat_rows, event_texts, upload


@pytest.fixture(scope="module")
def idle(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without a worker."""
    home = tmp_path_factory.mktemp("idle") / "home"
    with start_server(home, tiny_base, "--backend", "echo", "--no-worker") as running:
        yield running


@pytest.fixture
def client(idle: Running) -> Iterator[openai.OpenAI]:
    with idle.client() as found:
        yield found


@pytest.fixture
def file(client: openai.OpenAI) -> str:
    return upload(client, chat_rows(4))


@pytest.mark.parametrize(
    ("changes", "status", "param", "words"),
    [
        ({"model": "gpt-9"}, 404, "model", "'gpt-9' does not exist"),
        ({"training_file": "file-none"}, 404, "training_file", "file-none"),
        ({"validation_file": "file-none"}, 404, "validation_file", "file-none"),
        ({"suffix": "a:b"}, 400, "suffix", "suffix"),
        ({"suffix": "x" * 65}, 400, "suffix", "suffix"),
        ({"seed": -1}, 400, "seed", "seed"),
        ({"metadata": {"k" * 65: "v"}}, 400, None, "metadata"),
        ({"hyperparameters": {"n_epochs": 51}}, 400, "hyperparameters.n_epochs", "n_epochs"),
        ({"hyperparameters": {"n_epoch": 1}}, 400, "hyperparameters.n_epoch", "Unrecognized"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}}, 400, None, "beta"),
        ({"method": {"type": "dpo", "supervised": {}}}, 400, "method.supervised", "supervised has no effect"),
        ({"method": {"type": "reinforcement"}}, 400, "method", "needs a grader"),
        ({"integrations": [{"type": "other", "wandb": {"project": "p"}}]}, 400, "integrations[0].type", "wandb"),
        ({"colour": "red"}, 400, "colour", "Unrecognized"),
    ],
)
def test_what_cannot_be_is_refused(
    client: openai.OpenAI, file: str, changes: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    asked = {"model": "base", "training_file": file} | changes
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/fine_tuning/jobs", body=asked, cast_to=object)
    assert caught.value.status_code == status
    assert param is None or caught.value.param == param
    assert words in caught.value.message + str(caught.value.body)


def test_graders_and_purposes_are_checked_at_once(client: openai.OpenAI, file: str) -> None:
    graders = [
        {"type": "string_check", "name": "g", "input": "x", "reference": "y", "operation": "is"},
        {"type": "score_model", "name": "g", "model": "m", "input": [{"role": "user", "content": "x"}]},
    ]
    for grader, words in zip(graders, ("operation", "base_url"), strict=True):
        method: Any = {"type": "reinforcement", "reinforcement": {"grader": grader}}
        with pytest.raises(openai.BadRequestError, match=words):
            client.fine_tuning.jobs.create(model="base", training_file=file, method=method)
    other = client.files.create(file=("a.txt", b"hello"), purpose="user_data").id
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.fine_tuning.jobs.create(model="base", training_file=other)


def test_only_administrators_name_servers_and_folders_to_the_worker(client: openai.OpenAI, file: str) -> None:
    """The worker would send the content of any variable of its environment to any address."""
    made: Any = client.post("/tunesmith/keys", body={"name": "m", "role": "member"}, cast_to=object)
    member = client.with_options(api_key=made["key"])
    question = {"model": "m", "input": [{"role": "user", "content": "x"}], "base_url": "http://127.0.0.1:9/v1"}
    outside = {**question, "type": "score_model", "name": "s", "api_key_env": "HOME"}
    similar = {"type": "text_similarity", "name": "t", "input": "x", "reference": "y", "evaluation_metric": "cosine"}
    embedded = {**similar, "embedding_model": "m", "base_url": "http://127.0.0.1:9/v1"}
    folder = {"type": "reward_model", "name": "r", "adapter": "/adapter"}
    inside = {"type": "string_check", "name": "c", "input": "x", "reference": "y", "operation": "eq"}
    hidden = {"type": "multi", "name": "h", "graders": {"c": inside, "s": outside}, "calculate_output": "c + s"}
    uploaded = upload(member, chat_rows(4))

    def begin(who: openai.OpenAI, rows: str, grader: dict[str, Any]) -> str:
        method: Any = {"type": "reinforcement", "reinforcement": {"grader": grader}}
        return who.fine_tuning.jobs.create(model="base", training_file=rows, method=method).id

    for grader in (outside, embedded, folder, hidden):
        with pytest.raises(openai.PermissionDeniedError, match="needs a key with the role admin"):
            begin(member, uploaded, grader)
    allowed = {"type": "multi", "name": "h", "graders": {"c": inside}, "calculate_output": "c"}
    assert begin(member, uploaded, allowed)
    assert begin(client, file, outside)


def test_lists_go_page_by_page_and_filter_by_metadata(client: openai.OpenAI, file: str) -> None:
    made = [
        client.fine_tuning.jobs.create(model="base", training_file=file, metadata={"team": team, "page": "yes"}).id
        for team in ("a", "b", "a", "b", "a")
    ]
    jobs = client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=2, metadata={"page": "yes"})] == made[::-1]
    assert [job.id for job in jobs.list(limit=1, metadata={"page": "yes", "team": "b"})] == [made[3], made[1]]
    first = jobs.list(limit=3)
    assert ([job.id for job in first.data], first.has_more) == (made[:1:-1], True)
    assert jobs.list(limit=1, after=made[4]).data[0].id == made[3]
    with pytest.raises(openai.BadRequestError, match="after"):
        jobs.list(after="ftjob-none")
    assert [len(page.data) for page in jobs.list_events(made[0], limit=1).iter_pages()] == [1, 1]
    assert event_texts(client, made[0]) == [f"Created fine-tuning job: {made[0]}", f"Validating training file: {file}"]
    assert jobs.checkpoints.list(made[0]).data == []


def test_a_request_sent_again_makes_no_second_job(idle: Running, client: openai.OpenAI, file: str) -> None:
    asked: dict[str, Any] = {"model": "base", "training_file": file, "method": SMALL}
    keyed = [client.fine_tuning.jobs.create(**asked, extra_headers={"Idempotency-Key": "one"}).id for _ in range(2)]
    assert keyed[0] == keyed[1]
    with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
        client.fine_tuning.jobs.create(**asked, seed=9, extra_headers={"Idempotency-Key": "one"})
    plain = [client.fine_tuning.jobs.create(**asked, seed=4).id for _ in range(2)]
    assert len({*keyed, *plain}) == 3
    # The official client says when it asks again.
    headers = {"authorization": f"Bearer {idle.key}", "x-stainless-retry-count": "1"}
    again = httpx.post(f"{idle.url}/fine_tuning/jobs", json={**asked, "seed": 4}, headers=headers)
    assert again.json()["id"] == plain[1]


def test_the_older_spelling_and_states(idle: Running, client: openai.OpenAI, file: str) -> None:
    headers = {"authorization": f"Bearer {idle.key}"}
    old = f"{idle.url.removesuffix('/v1')}/v1/fine-tuning/jobs"
    made = httpx.post(old, json={"model": "base", "training_file": file}, headers=headers).json()
    job = client.fine_tuning.jobs.retrieve(made["id"])
    assert job.status == "validating_files"
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    with pytest.raises(openai.BadRequestError, match="it is paused"):
        client.fine_tuning.jobs.pause(job.id)
    assert client.fine_tuning.jobs.resume(job.id).status == "validating_files"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    for call in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError, match="it is cancelled"):
            call(job.id)
    with pytest.raises(openai.NotFoundError, match="ftjob-none"):
        client.fine_tuning.jobs.retrieve("ftjob-none")
    assert httpx.get(old, headers=headers).json()["data"][0]["id"] == job.id


def test_another_project_sees_nothing(idle: Running, client: openai.OpenAI, file: str) -> None:
    job = client.fine_tuning.jobs.create(model="base", training_file=file).id
    made = client.post("/tunesmith/keys", body={"name": "other", "project": "other"}, cast_to=object)
    with openai.OpenAI(base_url=idle.url, api_key=made["key"], max_retries=0) as other:
        assert other.fine_tuning.jobs.list().data == []
        for call in (
            other.fine_tuning.jobs.retrieve,
            other.fine_tuning.jobs.cancel,
            other.fine_tuning.jobs.list_events,
        ):
            with pytest.raises(openai.NotFoundError):
                call(job)
        with pytest.raises(openai.NotFoundError):
            other.fine_tuning.jobs.create(model="base", training_file=file)
