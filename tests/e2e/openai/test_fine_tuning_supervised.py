"""A supervised job from upload to the tuned model's first answer, with the official client."""

from __future__ import annotations

import contextlib
import csv
import io
import time
from pathlib import Path

import openai

from tests.e2e.openai.conftest import Running
from tests.e2e.openai.fine_tuning import SMALL, chat_rows, event_texts, upload, wait_for

SECRET = "Rumpelstilzchen, but nobody knows"


def keeps_it(home: Path) -> list[str]:
    """The files in which the secret stands; those that are removed just now may be listed and gone."""
    found = []
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        with contextlib.suppress(FileNotFoundError):
            if SECRET.encode() in path.read_bytes():
                found.append(str(path.relative_to(home)))
    return found


def test_a_job_ends_with_a_model_that_answers(server: Running, client: openai.OpenAI) -> None:
    rows = chat_rows()
    rows[-1]["messages"][1]["content"] = SECRET
    training, validation = upload(client, rows), upload(client, chat_rows(4))
    asked = client.fine_tuning.jobs.create(
        model="base",
        training_file=training,
        validation_file=validation,
        method=SMALL,
        suffix="colours",
        seed=7,
        metadata={"team": "acme"},
    )
    assert asked.id.startswith("ftjob-")
    assert (asked.object, asked.seed, asked.metadata) == ("fine_tuning.job", 7, {"team": "acme"})
    assert asked.fine_tuned_model is asked.finished_at is asked.trained_tokens is asked.error is None
    assert asked.result_files == asked.integrations == []
    assert asked.hyperparameters.learning_rate_multiplier == "auto"

    job = wait_for(client, asked.id, "succeeded")
    assert job.fine_tuned_model == f"ft:tiny:default:colours:{job.id.removeprefix('ftjob-')[:12]}"
    assert job.hyperparameters.learning_rate_multiplier == 0.5
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert job.finished_at >= job.created_at
    assert job.trained_tokens > 0

    # What follows needs nothing of the job's folder.
    end = time.monotonic() + 60
    while (server.home / "jobs" / job.id).exists():
        assert time.monotonic() < end
        time.sleep(0.1)

    question = [{"role": "user", "content": "ab 1"}]
    answer = client.chat.completions.create(model=job.fine_tuned_model, messages=question, max_tokens=4)
    assert answer.model == job.fine_tuned_model
    base = client.chat.completions.create(model="base", messages=question, max_tokens=4)
    # No system prompt is put in front: the rows brought their own.
    assert answer.usage.prompt_tokens == base.usage.prompt_tokens
    assert job.fine_tuned_model in [model.id for model in client.models.list()]

    said = event_texts(client, job.id)
    assert said[:2] == [f"Created fine-tuning job: {job.id}", f"Validating training file: {training}"]
    assert said[2:4] == ["Files validated, moving job to queued state", "Fine-tuning job started"]
    assert said[-2:] == [f"New fine-tuned model created: {job.fine_tuned_model}", "The job has successfully completed"]
    steps = [event for event in client.fine_tuning.jobs.list_events(job.id, limit=100) if event.type == "metrics"]
    trained = sorted(event.data["step"] for event in steps if "train_loss" in event.data)
    assert trained == [1, 2, 3, 4, 5, 6]
    assert {event.data["total_steps"] for event in steps} == {6}
    assert all("train_mean_token_accuracy" in event.data for event in steps if "train_loss" in event.data)
    assert all("valid_mean_token_accuracy" in event.data for event in steps if "valid_loss" in event.data)

    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [6, 3]
    for checkpoint in checkpoints:
        assert checkpoint.fine_tuning_job_id == job.id
        assert checkpoint.metrics.full_valid_loss == checkpoint.metrics.valid_loss > 0
        assert 0 <= checkpoint.metrics.train_mean_token_accuracy <= 1
        assert 0 <= checkpoint.metrics.full_valid_mean_token_accuracy <= 1
        name = checkpoint.fine_tuned_model_checkpoint
        assert name == f"{job.fine_tuned_model}:ckpt-step-{checkpoint.step_number}"
        assert client.chat.completions.create(model=name, messages=question, max_tokens=2).model == name

    (result,) = job.result_files
    assert client.files.retrieve(result).purpose == "fine-tune-results"
    table = list(csv.DictReader(io.StringIO(client.files.content(result).text)))
    assert list(table[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [row["step"] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(row["valid_loss"]) for row in table] == [False, False, True, False, False, True]
    assert [bool(row["valid_mean_token_accuracy"]) for row in table] == [False, False, True, False, False, True]
    assert all(0 <= float(row["train_accuracy"]) <= 1 for row in table)

    (kept,) = keeps_it(server.home)
    assert kept.startswith("files/")
    client.files.delete(training)
    assert keeps_it(server.home) == []


def test_a_validation_file_without_a_gain_is_a_warning(client: openai.OpenAI) -> None:
    def answered(answer: str) -> str:
        roles = ("user", "assistant")
        rows = [[f"{answer[0]} {number}", answer] for number in range(16)]
        return upload(
            client,
            [{"messages": [{"role": r, "content": c} for r, c in zip(roles, row, strict=True)]} for row in rows],
        )

    numbers = {"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 20}
    asked = client.fine_tuning.jobs.create(
        model="base",
        training_file=answered("aaaa"),
        validation_file=answered("ZQ#!"),
        method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
        seed=7,
    )
    job = wait_for(client, asked.id, "succeeded")
    (warning,) = [event for event in client.fine_tuning.jobs.list_events(job.id, limit=100) if event.level == "warn"]
    assert warning.message.startswith("The loss on the validation file did not fall: ")
    question = [{"role": "user", "content": "ab 1"}]
    assert client.chat.completions.create(model=job.fine_tuned_model, messages=question, max_tokens=2).choices
