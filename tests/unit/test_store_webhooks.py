"""The outbox of events on SQLite and on PostgreSQL: who gets what, when it is tried again, when it is given up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tunesmith.errors import NotFound
from tunesmith.store.database import Database
from tunesmith.store.jobs import JobStore, Retry
from tunesmith.store.webhooks import GIVE_UP_SECONDS, RETRY_SECONDS, WebhookStore, add_event
from tunesmith.types.base import digest_json
from tunesmith.types.jobs import JobRequest, JobStatus
from tunesmith.types.webhooks import EventType, SigningSecret, WebhookEndpoint

NOW = 1_000_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> WebhookStore:
    return WebhookStore(database)


def endpoint(store: WebhookStore, identity: str, *kinds: EventType, project: str = "mine") -> WebhookEndpoint:
    made = WebhookEndpoint(
        id=identity,
        project=project,
        name=identity,
        url="https://example.org/hook",
        event_types=kinds,
        secrets=(SigningSecret(text="whsec_AA=="),),
        created_at=NOW,
        updated_at=NOW,
    )
    store.add(made)
    return made


def happened(database: Database, kind: EventType, subject: str, project: str = "mine") -> None:
    with database.transaction() as session:
        add_event(session, project, kind, subject, now=NOW)


def test_an_event_goes_to_every_endpoint_of_its_project_that_wants_it(store: WebhookStore, database: Database) -> None:
    endpoint(store, "we_1", "batch.completed", "batch.failed")
    endpoint(store, "we_2", "batch.completed")
    endpoint(store, "we_3", "batch.failed")
    endpoint(store, "we_4", "batch.completed", project="theirs")
    happened(database, "batch.completed", "batch_1")
    found = store.claim(NOW, 9)
    assert [one.endpoint.id for one in found] == ["we_1", "we_2"]
    assert len({one.event for one in found}) == 1
    body = json.loads(found[0].body)
    assert body == {
        "id": found[0].event,
        "object": "event",
        "created_at": NOW,
        "type": "batch.completed",
        "data": {"id": "batch_1"},
    }


def test_no_event_without_what_it_tells_of(store: WebhookStore, database: Database) -> None:
    endpoint(store, "we_1", "batch.completed")
    with pytest.raises(RuntimeError), database.transaction() as session:  # noqa: PT012
        add_event(session, "mine", "batch.completed", "batch_1", now=NOW)
        raise RuntimeError("the batch could not be stored")
    assert store.claim(NOW, 9) == []


def test_what_does_not_arrive_is_tried_again_later_and_later(store: WebhookStore, database: Database) -> None:
    endpoint(store, "we_1", "batch.failed")
    happened(database, "batch.failed", "batch_1")
    now = NOW
    for attempt, wait in enumerate((1, 2, 4, 8, 16), start=1):
        (delivery,) = store.claim(now, 9)
        assert delivery.attempts == attempt
        assert store.claim(now, 9) == []  # somebody is at it
        store.settle(delivery, delivered=False, now=now)
        assert store.claim(now + wait - 1, 9) == []
        now += wait
    (delivery,) = store.claim(now, 9)
    store.settle(delivery.model_copy(update={"attempts": 20}), delivered=False, now=now)
    assert store.claim(now + RETRY_SECONDS - 1, 9) == []
    assert len(store.claim(now + RETRY_SECONDS, 9)) == 1


def test_what_arrived_and_what_is_too_old_is_forgotten(store: WebhookStore, database: Database) -> None:
    endpoint(store, "we_1", "batch.failed")
    happened(database, "batch.failed", "batch_1")
    happened(database, "batch.failed", "batch_2")
    first, _ = store.claim(NOW, 9)
    store.settle(first, delivered=True, now=NOW)
    assert [json.loads(one.body)["data"]["id"] for one in store.claim(NOW + 100, 9)] == ["batch_2"]
    assert store.claim(NOW + GIVE_UP_SECONDS + 1, 9) == []


def test_endpoints_are_their_projects_alone(store: WebhookStore, database: Database) -> None:
    made = [endpoint(store, f"we_{number}", "batch.failed") for number in range(3)]
    assert [one.id for one in store.list("mine", 2, None).items] == ["we_0", "we_1"]
    assert store.list("mine", 2, None).has_more
    assert [one.id for one in store.list("mine", 2, "we_1").items] == ["we_2"]
    assert store.list("theirs", 9, None).items == ()
    assert store.update("mine", "we_0", {"name": "new"}) == made[0].model_copy(update={"name": "new"})
    for ask in (
        lambda: store.get("theirs", "we_0"),
        lambda: store.update("theirs", "we_0", {"name": "x"}),
        lambda: store.delete("theirs", "we_0"),
        lambda: store.get("mine", "we\0"),
    ):
        with pytest.raises(NotFound):
            ask()
    happened(database, "batch.failed", "batch_1")
    store.delete("mine", "we_1")
    assert [one.endpoint.id for one in store.claim(NOW, 9)] == ["we_0", "we_2"]


def test_the_end_of_a_job_is_told_once(store: WebhookStore, database: Database) -> None:
    endpoint(store, "we_1", "fine_tuning.job.succeeded", "fine_tuning.job.cancelled")
    jobs = JobStore(database, clock=lambda: NOW)
    fields = {"project": "mine", "model": "base", "base": "tiny", "base_name": "tiny", "context": 64, "seed": 1}
    request = JobRequest.model_validate(fields | {"training_file": "file-1"})
    ended: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
    made = [jobs.create(JobStore.new_identity(), request, Retry(status, digest_json(status)))[0] for status in ended]
    for job, status in zip(made, ended, strict=True):
        for step in ("running", status, status):
            jobs.change(job.id, lambda now, step=step: now.model_copy(update={"status": step}))  # type: ignore[misc]
    told = [
        (json.loads(one.body)["type"], json.loads(one.body)["data"]["id"]) for one in store.claim(int(time.time()), 9)
    ]
    assert told == [("fine_tuning.job.succeeded", made[0].id), ("fine_tuning.job.cancelled", made[2].id)]
