"""Jobs that are paused, resumed, cancelled, or fail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from tests.e2e.openai.conftest import Running
from tests.e2e.openai.fine_tuning import chat_rows, event_texts, pairs, upload, wait_for

LONG: dict[str, Any] = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 40, "batch_size": 2}}}


def trainers(server: Running) -> list[psutil.Process]:
    """The trainers that live below the server."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in found if trains(process)]


def trains(process: psutil.Process) -> bool:
    try:
        return "tunesmith.jobs.trainer" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended since it was listed
        return False


def begun(client: openai.OpenAI, job: str) -> bool:
    return any(text.startswith("Step 5/") for text in event_texts(client, job))


@pytest.mark.slow
def test_a_paused_job_frees_the_machine_and_goes_on_at_its_step(server: Running, client: openai.OpenAI) -> None:
    file = upload(client, chat_rows())
    paused, whole = (
        client.fine_tuning.jobs.create(model="base", training_file=file, method=LONG, seed=1).id for _ in range(2)
    )
    wait_for(client, paused, "running")
    waiting = wait_for(client, whole, "queued")
    assert waiting.queue_position == 1
    wait_for(client, paused, lambda _: begun(client, paused))
    (trainer,) = trainers(server)
    assert client.fine_tuning.jobs.pause(paused).status == "paused"
    trainer.wait(timeout=60)
    wait_for(client, whole, "succeeded")
    assert client.fine_tuning.jobs.retrieve(paused).status == "paused"
    assert client.fine_tuning.jobs.resume(paused).status == "queued"
    wait_for(client, paused, "succeeded")
    said = event_texts(client, paused)
    assert "The job was paused" in said
    assert "Fine-tuning job resumed" in said
    assert adapter(server.home, paused) == adapter(server.home, whole)
    steps = [text for text in said if text.startswith("Step ")]
    assert len(steps) == len(set(steps))


def adapter(home: Path, job: str) -> bytes:
    (file,) = home.glob(f"runs/{job}-*/adapter/adapter_model.safetensors")
    return file.read_bytes()


def test_a_cancelled_job_ends(server: Running, client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model="base", training_file=upload(client, chat_rows()), method=LONG).id
    wait_for(client, job, "running")
    assert client.fine_tuning.jobs.cancel(job).status == "cancelled"
    end = time.monotonic() + 60
    while trainers(server):
        assert time.monotonic() < end
        time.sleep(0.1)
    found = client.fine_tuning.jobs.retrieve(job)
    assert (found.status, found.fine_tuned_model, found.result_files) == ("cancelled", None, [])
    assert event_texts(client, job)[-1] == "The job was cancelled"


def test_rows_of_another_method_fail_the_job_with_their_line(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model="base", training_file=upload(client, pairs()))
    end = time.monotonic() + 90
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status != "failed":
        assert time.monotonic() < end, job
        time.sleep(0.1)
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert "Line 1: " in job.error.message
    assert job.finished_at is not None
    assert event_texts(client, job.id)[-1] == f"The job failed: {job.error.message}"
