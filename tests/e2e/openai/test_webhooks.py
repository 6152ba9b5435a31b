"""Webhooks: managed with the official client, signed as it verifies, delivered until they arrive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import openai
import pytest

from tests.e2e.openai.conftest import start_server


class Received(NamedTuple):
    """One request that the receiver got."""

    body: bytes
    headers: dict[str, str]


class Receiver:
    """A server that keeps what it gets; `answers` are its status codes, the last one for ever."""

    def __init__(self, *answers: int) -> None:
        self.received: list[Received] = []
        self._answers = list(answers or (200,))
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answers = receiver._answers
                self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
                self.send_header("content-length", "0")
                self.end_headers()
                receiver.received.append(Received(body, dict(self.headers.items())))

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count: int, seconds: float = 90) -> list[Received]:
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} came"
            time.sleep(0.05)
        return self.received


@contextmanager
def receiving(*answers: int) -> Iterator[Receiver]:
    receiver = Receiver(*answers)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()


def finish_an_eval_run(client: openai.OpenAI) -> str:
    check = {"type": "string_check", "name": "c", "input": "{{item.a}}", "reference": "x", "operation": "eq"}
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {"type": "object"}},
        testing_criteria=[check],  # type: ignore[list-item]
    )
    rows = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"a": "x"}}]}}
    return client.evals.runs.create(made.id, data_source=rows).id  # type: ignore[arg-type]


def test_an_event_arrives_signed_as_the_client_verifies(client: openai.OpenAI) -> None:
    with receiving() as receiver:
        made = client.webhooks.create(name="mine", url=receiver.url, event_types=["eval.run.succeeded"])
        run = finish_an_eval_run(client)
        body, headers = receiver.wait(1)[0]
        event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
        assert event.type == "eval.run.succeeded"
        assert (event.data.id, event.object) == (run, "event")
        assert headers["webhook-id"] == event.id
        assert abs(event.created_at - time.time()) < 60
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body + b" ", headers, secret=made.signing_secret)
        client.webhooks.delete(made.id)


def test_who_wants_other_events_gets_none(client: openai.OpenAI) -> None:
    with receiving() as wanted, receiving() as unwanted:
        first = client.webhooks.create(name="a", url=wanted.url, event_types=["eval.run.succeeded"])
        second = client.webhooks.create(name="b", url=unwanted.url, event_types=["batch.completed"])
        finish_an_eval_run(client)
        wanted.wait(1)
        time.sleep(1.5)
        assert (len(wanted.received), unwanted.received) == (1, [])
        for made in (first, second):
            client.webhooks.delete(made.id)


def test_a_refused_event_comes_again_with_the_same_id(client: openai.OpenAI) -> None:
    with receiving(500, 302, 200) as receiver:
        made = client.webhooks.create(name="moody", url=receiver.url, event_types=["eval.run.succeeded"])
        finish_an_eval_run(client)
        received = receiver.wait(3)
        time.sleep(1.5)
        assert len(received) == 3
        assert len({one.headers["webhook-id"] for one in received}) == 1
        assert len({one.body for one in received}) == 1
        for body, headers in received:
            client.webhooks.unwrap(body, headers, secret=made.signing_secret)
        client.webhooks.delete(made.id)


def test_endpoints_are_managed(client: openai.OpenAI) -> None:
    made = [
        client.webhooks.create(name=f"n{number}", url="https://example.org/hook", event_types=["batch.failed"])
        for number in range(3)
    ]
    assert made[0].signing_secret.startswith("whsec_")
    found = client.webhooks.retrieve(made[0].id)
    assert "signing_secret" not in found.to_dict()
    assert (found.object, found.name, found.event_types) == ("webhook_endpoint", "n0", ["batch.failed"])
    assert str(found.signing_secret_hint).endswith(made[0].signing_secret[-4:])
    listed = [one.id for one in client.webhooks.list(limit=1)]
    assert [one for one in listed if one in {each.id for each in made}] == [one.id for one in made]
    changed = client.webhooks.update(made[0].id, name="new", event_types=["batch.expired", "batch.failed"])
    assert (changed.name, changed.url) == ("new", "https://example.org/hook")
    assert changed.event_types == ["batch.expired", "batch.failed"]
    assert "fine_tuning.job.succeeded" in client.webhooks.event_types.list().data
    for one in made:
        deleted = client.webhooks.delete(one.id)
        assert (deleted.deleted, deleted.object) == (True, "webhook_endpoint.deleted")
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(made[0].id)


def test_a_sample_shows_what_the_endpoint_answers(client: openai.OpenAI) -> None:
    with receiving(204) as receiver:
        made = client.webhooks.create(name="t", url=receiver.url, event_types=["batch.failed"])
        result = client.webhooks.test(made.id, event_type="fine_tuning.job.succeeded")
        assert (result.status_code, result.success, result.event_type) == (204, True, "fine_tuning.job.succeeded")
        body, headers = receiver.wait(1)[0]
        assert client.webhooks.unwrap(body, headers, secret=made.signing_secret).type == "fine_tuning.job.succeeded"
    with pytest.raises(openai.BadRequestError, match="Nobody answered at"):
        client.webhooks.test(made.id, event_type="batch.failed")
    client.webhooks.delete(made.id)


def test_a_new_secret_signs_alone_or_beside_the_old_one(client: openai.OpenAI) -> None:
    with receiving() as receiver:
        made = client.webhooks.create(name="t", url=receiver.url, event_types=["batch.failed"])
        both = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        client.webhooks.test(made.id, event_type="batch.failed")
        alone = client.webhooks.rotate_secret(made.id)
        client.webhooks.test(made.id, event_type="batch.failed")
        assert len({made.signing_secret, both.signing_secret, alone.signing_secret}) == 3
        first, second = receiver.wait(2)
        for secret in (made.signing_secret, both.signing_secret):
            client.webhooks.unwrap(first.body, first.headers, secret=secret)
        client.webhooks.unwrap(second.body, second.headers, secret=alone.signing_secret)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(second.body, second.headers, secret=both.signing_secret)
        client.webhooks.delete(made.id)


@pytest.mark.parametrize("url", ["ftp://example.org", "nothing", "https://user:secret@example.org/", "https://"])
def test_addresses_that_cannot_work_are_refused(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.webhooks.create(name="x", url=url, event_types=["batch.failed"])
    assert caught.value.param == "url"
    assert "secret@" not in str(caught.value.message)


def test_events_that_are_never_sent_cannot_be_asked_for(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.webhooks.create(name="x", url="https://example.org", event_types=["video.completed"])
    assert str(caught.value.param).startswith("event_types")


def test_what_is_on_its_way_survives_the_death_of_the_server(tiny_base: Path, tmp_path: Path) -> None:
    with receiving(503, 503, 200) as receiver:
        with start_server(tmp_path, tiny_base, "--backend", "echo") as first, first.client() as client:
            made = client.webhooks.create(name="x", url=receiver.url, event_types=["eval.run.succeeded"])
            run = finish_an_eval_run(client)
            receiver.wait(1)
            first.process.kill()
            first.process.wait(timeout=30)
            before = len(receiver.received)
            assert before < 3
        with start_server(tmp_path, tiny_base, "--backend", "echo"):
            body, headers = receiver.wait(3)[2]
        event = openai.OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=made.signing_secret)
        assert event.data.id == run
        assert json.loads(body)["data"] == {"id": run}
