"""Tuned models and checkpoints as the start of other jobs, through the official client."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import openai
import pytest

from tests.e2e.openai.conftest import Running
from tests.e2e.openai.fine_tuning import SMALL, chat_rows, event_texts, pairs, upload, wait_for
from tunesmith.models.adapter import adapter_digest
from tunesmith.release.registry import open_registry
from tunesmith.settings import Settings
from tunesmith.store.database import Database
from tunesmith.store.tuned import TunedModels

QUESTION: Any = [{"role": "user", "content": "colour 1?"}]
DPO: Any = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "batch_size": 4, "beta": 0.2}}}


@pytest.fixture(scope="module")
def tuned(server: Running) -> Any:
    """A finished supervised job."""
    with server.client() as client:
        asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, chat_rows()), method=SMALL)
        yield wait_for(client, asked.id, "succeeded")


def said(client: openai.OpenAI, model: str) -> list[float]:
    """Log-probabilities of the likeliest tokens after a question."""
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=1, temperature=0.0, logprobs=True, top_logprobs=5
    )
    return [each.logprob for each in answer.choices[0].logprobs.content[0].top_logprobs]


def adapter_of(server: Running, model: str) -> tuple[str, dict[str, Any]]:
    """(digest, tunesmith.json) of a model's adapter."""
    settings = Settings(home=server.home)
    found = TunedModels(Database(settings.database)).find("default", model)
    assert found is not None
    release = open_registry(settings).by_id(found.release)
    assert release is not None
    folder = server.home / "releases" / release.identity() / "adapter"
    return adapter_digest(folder), json.loads((folder / "tunesmith.json").read_text())


def test_preferences_on_top_of_a_supervised_model(server: Running, client: openai.OpenAI, tuned: Any) -> None:
    parent = tuned.fine_tuned_model
    asked = client.fine_tuning.jobs.create(
        model=parent, training_file=upload(client, pairs()), method=DPO, suffix="liked"
    )
    assert asked.model == parent
    job = wait_for(client, asked.id, "succeeded")
    assert job.model == parent
    assert job.fine_tuned_model == f"ft:tiny:default:liked:{job.id.removeprefix('ftjob-')[:12]}"
    assert said(client, job.fine_tuned_model) != said(client, parent) != said(client, "base")
    events = [event.data for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    (first,) = [data["train_loss"] for data in events if data["step"] == 1]
    assert first == pytest.approx(math.log(2), abs=0.03)  # against its parent nothing is preferred yet
    digest, _ = adapter_of(server, parent)
    assert adapter_of(server, job.fine_tuned_model)[1]["parent"] == digest


def test_a_checkpoint_that_is_deleted_meanwhile(server: Running, client: openai.OpenAI, tuned: Any) -> None:
    checkpoints = client.fine_tuning.jobs.checkpoints.list(tuned.id).data
    name = checkpoints[-1].fine_tuned_model_checkpoint
    assert ":ckpt-step-3" in name
    digest, _ = adapter_of(server, name)
    asked = client.fine_tuning.jobs.create(model=name, training_file=upload(client, chat_rows(8)), method=SMALL)
    assert client.models.delete(name).deleted
    job = wait_for(client, asked.id, "succeeded")
    assert job.model == name
    assert adapter_of(server, job.fine_tuned_model)[1]["parent"] == digest
    assert said(client, job.fine_tuned_model) != said(client, tuned.fine_tuned_model)
    later = client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
    assert adapter_of(server, later)[1]["parent"] == digest
    assert not any("failed" in text for text in event_texts(client, job.id))
    end = time.monotonic() + 60
    while digest in {adapter_digest(file.parent) for file in server.home.glob("releases/*/adapter/tunesmith.json")}:
        assert time.monotonic() < end  # a deleted model takes its adapter along
        time.sleep(0.2)
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.fine_tuning.jobs.create(model=name, training_file=upload(client, chat_rows(8)))


def test_another_projects_model_does_not_exist(server: Running, client: openai.OpenAI, tuned: Any) -> None:
    made = client.post("/tunesmith/keys", body={"name": "further", "project": "further"}, cast_to=object)
    with openai.OpenAI(base_url=server.url, api_key=made["key"], max_retries=0) as other:
        file = upload(other, chat_rows(4))
        with pytest.raises(openai.NotFoundError) as caught:
            other.fine_tuning.jobs.create(model=tuned.fine_tuned_model, training_file=file)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
