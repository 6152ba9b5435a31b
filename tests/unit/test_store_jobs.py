"""Jobs and what they say, on SQLite and on PostgreSQL: an event is written with the change that it tells of."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tunesmith.jobs.models import checkpoint_name, tuned_model
from tunesmith.store.database import Database
from tunesmith.store.jobs import JobStore, Retry, Said
from tunesmith.store.tuned import TunedModels
from tunesmith.types.jobs import Job, JobCheckpoint, JobRequest, JobStatus


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


REQUEST = JobRequest(
    project="mine", model="base", base="tiny", base_name="tiny", context=64, training_file="file-1", seed=0
)


@pytest.fixture
def job(store: JobStore) -> Job:
    made, _ = store.create(store.new_identity(), REQUEST, Retry(None, "digest"))
    return made


def test_the_same_key_at_the_same_moment_makes_one_job(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    together, known = threading.Barrier(2), JobStore._known

    def both_find_none(self: JobStore, *asked: Any) -> Any:
        found = known(self, *asked)
        # SQLite lets only one look at a time; the other comes when the first gives up waiting.
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(timeout=1)
        return found

    monkeypatch.setattr(JobStore, "_known", both_find_none)

    def create(_: int) -> tuple[Job, bool]:
        return store.create(store.new_identity(), REQUEST, Retry("key", "digest"))

    with ThreadPoolExecutor(2) as threads:
        (one, first), (other, second) = threads.map(create, range(2))
    assert one == other
    assert {first, second} == {True, False}


def said(store: JobStore, job: Job) -> list[str]:
    return [event.key for event in reversed(store.events(job, 100, None).items)]


def turned(store: JobStore, job: Job, status: JobStatus, *events: Said) -> Job | None:
    return store.change(job.id, lambda job: job.model_copy(update={"status": status}), lambda _: events)


def test_a_change_and_its_event_are_one(store: JobStore, job: Job) -> None:
    def breaks(_: Job) -> list[Said]:
        raise RuntimeError("killed between the two")

    with pytest.raises(RuntimeError):
        store.change(job.id, lambda job: job.model_copy(update={"status": "running"}), breaks)
    found = store.job(job.id)
    assert found is not None
    assert found.status == "validating_files"
    turned(store, job, "running", ("Fine-tuning job started", "started-0", {}))
    assert said(store, job) == ["created", "validating", "started-0"]


def test_an_unwanted_change_says_nothing(store: JobStore, job: Job) -> None:
    assert store.change(job.id, lambda _: None, lambda _: [("never", "never", {})]) is None
    assert said(store, job) == ["created", "validating"]


def test_a_change_that_is_made_again_says_its_event_once(store: JobStore, job: Job) -> None:
    for _ in range(2):
        turned(store, job, "queued", ("validated", "validated", {}))
    assert said(store, job) == ["created", "validating", "validated"]


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_an_ended_job_says_nothing_after_its_end(store: JobStore, job: Job, end: JobStatus) -> None:
    turned(store, job, "running", ("started", "started-0", {}))
    store.say_all(job, [("Step 1/9", "step-1", {})])
    turned(store, job, end, ("the end", "end", {}))
    store.say_all(job, [("Step 2/9", "step-2", {})])
    assert said(store, job) == ["created", "validating", "started-0", "step-1", "end"]


def add_checkpoint(store: JobStore, job: Job) -> None:
    name = checkpoint_name(job, 4)
    checkpoint = JobCheckpoint(id="ftckpt_1", job=job.id, created_at=1, step=4, model=name, metrics={})
    said: Said = ("Checkpoint created", "checkpoint-4", {})
    store.add_checkpoint(job, checkpoint, tuned_model(job, name, "r" * 64, 1), said)


def test_a_checkpoint_its_model_and_its_event_come_together_and_once(
    store: JobStore, job: Job, database: Database
) -> None:
    models = TunedModels(database)
    add_checkpoint(store, job)
    assert [model.name for model in models.list("mine")] == [checkpoint_name(job, 4)]
    assert said(store, job)[-1] == "checkpoint-4"
    assert models.delete("mine", checkpoint_name(job, 4))
    add_checkpoint(store, job)  # the trainer was killed and looks at the epoch again
    assert models.list("mine") == ()
    assert len(store.checkpoints(job, 10, None).items) == 1


def test_a_cancelled_job_makes_no_checkpoint_any_more(store: JobStore, job: Job, database: Database) -> None:
    turned(store, job, "cancelled", ("The job was cancelled", "cancelled", {}))
    add_checkpoint(store, job)
    assert TunedModels(database).list("mine") == ()
    assert store.checkpoints(job, 10, None).items == ()
    assert said(store, job)[-1] == "cancelled"
