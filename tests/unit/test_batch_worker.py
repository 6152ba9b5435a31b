"""The worker of batches, on both databases, with an application whose answers the test gives."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from tunesmith.errors import NotFound
from tunesmith.serve import failures
from tunesmith.serve.access import AccessCheck
from tunesmith.serve.api.batches import worker
from tunesmith.serve.api.batches.worker import Pace, work_on, working
from tunesmith.serve.caller import Asking
from tunesmith.serve.platform import Platform, open_platform
from tunesmith.settings import Settings
from tunesmith.store.keys import add_key, revoke_key, rotate_key
from tunesmith.store.webhooks import WebhookStore
from tunesmith.types.batches import Batch, BatchResult
from tunesmith.types.files import FileDetails
from tunesmith.types.key import Grant
from tunesmith.types.webhooks import WebhookEndpoint

QUICK = Pace(batches=1, requests=2, look=0.02, renew=0.02, lease=8)


class Endpoint:
    """Answers each question with its name; waits while the gate is closed (after `closes_after` answers); counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.projects: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy_for = 0
        self.closes_after: int | None = None
        self.on_answer: Callable[[str], None] = lambda name: None
        self.app = FastAPI()
        failures.install(self.app)

        @self.app.post("/v1/embeddings")
        async def embeddings(request: Request, caller: Asking) -> Response:
            name = (await request.json())["input"]
            self.asked[name] += 1
            self.projects.add(caller.project)
            if self.busy_for:
                self.busy_for -= 1
                return JSONResponse({"error": {"message": "busy"}}, 429, headers={"retry-after": "0.1"})
            if name == "broken":
                raise RuntimeError("wires crossed")
            if name == "garbled":
                return HTMLResponse("<h1>500</h1>", 500)
            await self.gate.wait()
            self.answered[name] += 1
            self.on_answer(name)
            if self.answered.total() == self.closes_after:
                self.gate.clear()
            return JSONResponse({"name": name, "usage": {"prompt_tokens": 2, "total_tokens": 2}})


@pytest.fixture
def platform(tmp_path: Path, database_url: str) -> Iterator[Platform]:
    found = open_platform(Settings(home=tmp_path, database_url=database_url))
    yield found
    found.close()


def begin(platform: Platform, names: list[str], **changes: Any) -> Batch:
    rows = [
        {"custom_id": str(line), "method": "POST", "url": "/v1/embeddings", "body": {"input": name}}
        for line, name in enumerate(names, 1)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = platform.files.add(FileDetails(project="ours", filename="a", purpose="batch"), content)
    given = {
        "id": "batch_1",
        "project": "ours",
        "endpoint": "/v1/embeddings",
        "input_file_id": file.id,
        "created_at": 1000,
        "expires_at": 2_000_000_000,
    }
    batch = Batch.model_validate(given | changes)
    platform.batches.add(batch)
    return batch


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.01)


def ended(platform: Platform) -> Callable[[], bool]:
    open_states = ("validating", "in_progress", "finalizing", "cancelling")
    return lambda: platform.batches.get("ours", "batch_1").status not in open_states


def output(platform: Platform, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    text = platform.files.path(platform.files.get("ours", file_id)).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@asynccontextmanager
async def work(platform: Platform, endpoint: Endpoint, pace: Pace = QUICK) -> AsyncIterator[None]:
    async with working(platform, endpoint.app, pace):
        yield


def test_requests_are_asked_as_the_caller_and_again_when_the_server_is_busy(platform: Platform) -> None:
    webhooks = WebhookStore(platform.database)
    webhooks.add(
        WebhookEndpoint(
            id="we_1",
            project="ours",
            name="n",
            url="https://example.org/",
            event_types=("batch.completed", "batch.failed"),
            secrets=(),
            created_at=0,
            updated_at=0,
        )
    )

    async def run() -> Endpoint:
        endpoint = Endpoint()
        endpoint.busy_for = 3
        begin(platform, ["a", "broken", "c"])
        async with work(platform, endpoint):
            await until(ended(platform))
        return endpoint

    endpoint = asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, endpoint.projects) == ("completed", {"ours"})
    assert (done.counts.total, done.counts.completed, done.counts.failed) == (3, 2, 1)
    assert (done.usage.input_tokens, done.usage.output_tokens) == (4, 0)
    assert endpoint.answered == {"a": 1, "c": 1}
    assert endpoint.asked.total() == 6
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == ["1", "3"]
    (failure,) = output(platform, done.error_file_id)
    assert (failure["custom_id"], failure["response"]["status_code"]) == ("2", 500)
    with pytest.raises(NotFound):
        platform.batches.get("theirs", "batch_1")
    (event,) = webhooks.claim(int(time.time()), 9)
    assert (json.loads(event.body)["type"], json.loads(event.body)["data"]) == ("batch.completed", {"id": "batch_1"})


def test_a_worker_that_stops_gives_the_batch_back_and_the_next_goes_on(platform: Platform) -> None:
    async def run() -> tuple[Endpoint, Endpoint]:
        first, second = Endpoint(), Endpoint()
        begin(platform, [f"n{number}" for number in range(10)])
        async with work(platform, first):
            await until(lambda: platform.batches.get("ours", "batch_1").counts.completed >= 2)
            first.gate.clear()
        async with work(platform, second):
            await until(ended(platform))
        return first, second

    first, second = asyncio.run(run())
    assert first.answered.total() >= 2
    assert set(first.answered) | set(second.answered) == {f"n{number}" for number in range(10)}
    done = platform.batches.get("ours", "batch_1")
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == [str(n) for n in range(1, 11)]
    stored_first = first.answered.total() + second.answered.total()
    assert stored_first <= 12  # at most the two that were answered and not stored when the first stopped


def test_an_answer_that_is_being_stored_when_the_batch_is_cancelled_is_in_its_file(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, store = threading.Event(), platform.batches.add_result

    def slowly(*arguments: Any) -> None:
        storing.set()
        time.sleep(0.5)  # longer than the worker needs to see that the batch is cancelled
        store(*arguments)

    def cancelled(batch: Batch) -> Batch:
        return batch.model_copy(update={"status": "cancelling", "cancelling_at": 1})

    async def run() -> None:
        begin(platform, [f"n{number}" for number in range(10)])
        async with work(platform, Endpoint()):
            await until(storing.is_set)
            platform.batches.change("ours", "batch_1", cancelled)
            await until(ended(platform))

    monkeypatch.setattr(platform.batches, "add_result", slowly)
    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert done.status == "cancelled"
    assert len(output(platform, done.output_file_id)) == done.counts.completed > 0


def test_two_workers_do_not_take_the_same_batch(platform: Platform) -> None:
    async def run() -> tuple[Endpoint, Endpoint]:
        first, second = Endpoint(), Endpoint()
        names = [f"n{number}" for number in range(30)]
        begin(platform, names)
        async with work(platform, first), work(platform, second):
            await until(ended(platform))
        return first, second

    first, second = asyncio.run(run())
    both = first.answered + second.answered
    assert both == {f"n{number}": 1 for number in range(30)}
    assert not (first.answered and second.answered)


def test_a_lease_that_is_over_is_taken(platform: Platform) -> None:
    batch = begin(platform, ["a"])
    assert platform.batches.claim("dead", 1000, 12) == batch
    assert platform.batches.claim("alive", 1011, 12) is None
    assert platform.batches.claim("alive", 1012, 12) == batch
    assert platform.batches.renew(batch, "dead", 1030) is None
    assert platform.batches.renew(batch, "alive", 1030) == batch
    platform.batches.release(batch, "dead")
    assert platform.batches.claim("third", 1029, 12) is None
    platform.batches.release(batch, "alive")
    assert platform.batches.claim("third", 1013, 12) == batch


def test_what_is_not_answered_in_time_is_an_error_that_says_so(platform: Platform) -> None:
    now = [1000.0]

    async def run() -> None:
        endpoint = Endpoint()
        endpoint.closes_after = 1
        begin(platform, ["a", "b", "c", "d"], expires_at=2000)
        async with work(platform, endpoint, QUICK._replace(clock=lambda: now[0], requests=1)):
            await until(lambda: platform.batches.get("ours", "batch_1").counts.completed >= 1)
            now[0] = 2000.0
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.expired_at, done.counts.total) == ("expired", 2000, 4)
    assert done.counts.completed + done.counts.failed == 4
    errors = output(platform, done.error_file_id)
    assert errors
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}
    assert {line["response"] for line in errors} == {None}
    assert len(output(platform, done.output_file_id)) + len(errors) == 4


def test_an_answer_that_is_no_json_fails_alone(platform: Platform) -> None:
    async def run() -> None:
        begin(platform, ["a", "garbled", "c"])
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.counts.completed, done.counts.failed) == ("completed", 2, 1)
    (failure,) = output(platform, done.error_file_id)
    assert (failure["custom_id"], failure["error"]["code"]) == ("2", "server_error")
    assert "status 500" in failure["error"]["message"]


def test_an_internal_error_keeps_what_was_answered(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = worker.answer

    async def breaks_at_three(client: Any, endpoint: Any, request: Any) -> BatchResult:
        if request.line == 3:
            raise RuntimeError("wires crossed")
        return await ask(client, endpoint, request)

    async def run() -> None:
        begin(platform, ["a", "b", "c", "d", "e"])
        async with work(platform, Endpoint(), QUICK._replace(requests=1)):
            await until(ended(platform))

    monkeypatch.setattr(worker, "answer", breaks_at_three)
    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.counts.total, done.counts.completed, done.counts.failed) == ("failed", 5, 2, 3)
    (problem,) = done.problems
    assert (problem.code, problem.message) == ("server_error", "Internal error: RuntimeError.")
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == ["1", "2"]
    errors = output(platform, done.error_file_id)
    assert [(line["custom_id"], line["error"]["code"]) for line in errors] == [(n, "server_error") for n in "345"]


def test_the_lease_is_renewed_while_a_failed_batch_is_written_off(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, add, renewed = platform.batches.renew, platform.batches.add_result, threading.Event()
    waited: list[bool] = []

    def breaks(*_: Any) -> Any:
        raise RuntimeError("wires crossed")

    def renewing(*arguments: Any) -> Any:
        found = renew(*arguments)
        renewed.set()
        return found

    def slowly(*arguments: Any) -> None:
        renewed.clear()
        waited.append(renewed.wait(20))
        add(*arguments)

    async def run() -> None:
        begin(platform, ["a", "b"])
        async with work(platform, Endpoint()):
            await until(ended(platform))

    monkeypatch.setattr(worker, "answer", breaks)
    monkeypatch.setattr(platform.batches, "renew", renewing)
    monkeypatch.setattr(platform.batches, "add_result", slowly)
    asyncio.run(run())
    assert waited == [True, True]
    assert platform.batches.get("ours", "batch_1").status == "failed"


def test_requests_that_cannot_be_read_do_not_take_the_answers_with_them(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: Path) -> Iterator[Any]:
        raise KeyError("custom_id")
        yield

    async def run() -> None:
        batch = begin(platform, ["a", "b"])
        platform.batches.add_result(batch, BatchResult(line=1, failed=False, content='{"custom_id": "1"}\n'))
        async with work(platform, Endpoint()):
            await until(ended(platform))

    monkeypatch.setattr(worker, "requests_of", unreadable)
    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.error_file_id) == ("failed", None)
    assert output(platform, done.output_file_id) == [{"custom_id": "1"}]


def test_a_batch_whose_key_is_revoked_stops(platform: Platform) -> None:
    async def run() -> Endpoint:
        endpoint = Endpoint()
        endpoint.closes_after = 1
        with platform.database.transaction() as session:
            key = add_key(session, Grant(project="ours"), int(time.time())).key
        begin(platform, ["a", "b", "c", "d"], key=key.id)
        async with work(platform, endpoint, QUICK._replace(requests=1)):
            await until(lambda: platform.batches.get("ours", "batch_1").counts.completed == 1)
            with platform.database.transaction() as session:
                revoke_key(session, key.id, int(time.time()))
            await until(ended(platform))
        return endpoint

    endpoint = asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.counts.completed, done.counts.failed) == ("failed", 1, 3)
    (problem,) = done.problems
    assert (problem.code, problem.message) == (
        "invalid_api_key",
        "The API key that began this has expired or was revoked.",
    )
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == ["1"]
    assert {line["error"]["code"] for line in output(platform, done.error_file_id)} == {"invalid_api_key"}
    assert endpoint.answered == {"a": 1}


def test_a_refusal_of_the_key_is_no_answer_to_a_request(platform: Platform) -> None:
    async def run() -> Endpoint:
        endpoint = Endpoint()
        endpoint.app.add_middleware(AccessCheck, keys=platform.keys)
        with platform.database.transaction() as session:
            key = add_key(session, Grant(project="ours"), int(time.time())).key
        begin(platform, ["a", "b", "c"], key=key.id)

        def revoke_after_the_first(name: str) -> None:
            with platform.database.transaction() as session:
                revoke_key(session, key.id, int(time.time()))
            platform.keys.forget()

        endpoint.on_answer = revoke_after_the_first
        async with work(platform, endpoint, QUICK._replace(requests=1, look=600)):  # does not look itself meanwhile
            await until(ended(platform))
        return endpoint

    endpoint = asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, [problem.code for problem in done.problems]) == ("failed", ["invalid_api_key"])
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == ["1"]
    errors = output(platform, done.error_file_id)
    assert [(line["custom_id"], line["response"], line["error"]["code"]) for line in errors] == [
        ("2", None, "invalid_api_key"),
        ("3", None, "invalid_api_key"),
    ]
    assert endpoint.asked == {"a": 1}


def test_a_batch_that_was_answered_when_its_key_was_revoked_is_completed(platform: Platform) -> None:
    async def run() -> None:
        endpoint = Endpoint()
        with platform.database.transaction() as session:
            key = add_key(session, Grant(project="ours"), int(time.time())).key
        begin(platform, ["a"], key=key.id)

        def revoke(name: str) -> None:
            with platform.database.transaction() as session:
                revoke_key(session, key.id, int(time.time()))
            platform.keys.forget()

        endpoint.on_answer = revoke
        async with work(platform, endpoint, QUICK._replace(look=600)):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, done.counts.completed, done.counts.failed) == ("completed", 1, 0)


def test_a_batch_goes_on_with_the_key_that_its_own_was_rotated_to(platform: Platform) -> None:
    async def run() -> None:
        now = int(time.time())
        with platform.database.transaction() as session:
            key = add_key(session, Grant(project="ours"), now).key
            rotate_key(session, key.id, 0, now)
        begin(platform, ["a", "b"], key=key.id)
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    assert platform.batches.get("ours", "batch_1").status == "completed"


def test_a_file_that_is_gone_fails_the_batch(platform: Platform) -> None:
    async def run() -> None:
        batch = begin(platform, ["a"])
        platform.files.delete("ours", batch.input_file_id)
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, [problem.code for problem in done.problems]) == ("failed", ["file_not_found"])


def test_answers_outlive_the_file_of_their_requests(platform: Platform) -> None:
    async def run() -> None:
        first = Endpoint()
        batch = begin(platform, ["a", "b", "c", "d"])
        first.closes_after = 1
        async with work(platform, first, QUICK._replace(requests=1)):
            await until(lambda: platform.batches.get("ours", "batch_1").counts.completed == 1)
        platform.files.delete("ours", batch.input_file_id)
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert (done.status, [problem.code for problem in done.problems]) == ("failed", ["file_not_found"])
    assert [line["custom_id"] for line in output(platform, done.output_file_id)] == ["1"]


def test_a_batch_whose_answers_are_all_there_needs_its_requests_no_more(platform: Platform) -> None:
    async def run() -> None:
        batch = begin(platform, ["a"], status="finalizing")
        platform.batches.add_result(batch, BatchResult(line=1, failed=False, content='{"custom_id": "1"}\n'))
        platform.files.delete("ours", batch.input_file_id)
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert done.status == "completed"
    assert output(platform, done.output_file_id) == [{"custom_id": "1"}]


def test_a_worker_that_lost_a_batch_cannot_open_or_end_it_again(platform: Platform) -> None:
    async def run() -> Batch:
        begin(platform, ["a", "b"])
        stale = platform.batches.claim("slow", 1000, 12)
        assert stale is not None
        platform.batches.release(stale, "slow")  # as if its lease were over
        async with work(platform, Endpoint()):
            await until(ended(platform))
        done = platform.batches.get("ours", "batch_1")
        await work_on(stale, platform, Endpoint().app, "slow", QUICK)
        return done

    done = asyncio.run(run())
    assert (done.status, done.counts.completed) == ("completed", 2)
    assert platform.batches.get("ours", "batch_1") == done
    assert platform.batches.finish(done, status="failed", problems=()) == done
    assert platform.batches.get("ours", "batch_1") == done


def test_files_that_were_written_before_a_kill_are_not_written_again(platform: Platform) -> None:
    async def run() -> None:
        begin(platform, ["a"], status="finalizing")
        name = FileDetails(project="ours", filename="batch_1_output.jsonl", purpose="batch_output")
        platform.files.add(name, b'{"custom_id": "1"}\n')
        async with work(platform, Endpoint()):
            await until(ended(platform))

    asyncio.run(run())
    done = platform.batches.get("ours", "batch_1")
    assert output(platform, done.output_file_id) == [{"custom_id": "1"}]
    assert len(platform.files.list("ours", "batch_output", limit=9).files) == 1
