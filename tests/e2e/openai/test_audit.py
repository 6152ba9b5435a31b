"""What was asked can be looked up, cannot be changed unseen, and every answer says where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.openai.conftest import Running, start_server
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.release.registry import Registry
from tunesmith.testing.adapters import make_adapter
from tunesmith.types.conversation import Message
from tunesmith.types.recipe import ModelSpec
from tunesmith.types.release import Release

QUESTION = "What is on my card?"
ASKED: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start_server(tmp_path_factory.mktemp("audit"), tiny_base, "--backend", "echo") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


def audit(home: Path, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.cli.main", "audit", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "TUNESMITH_HOME": str(home)},
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def entry_of(home: Path, request: str) -> dict[str, Any]:
    """The entry of one request; it is written a moment after the answer."""
    for _ in range(50):
        found = {row["entry"]["request"]: row["entry"] for row in audit(home, "show", "--limit", "100")[1]}
        if request in found:
            return found[request]
        time.sleep(0.1)
    raise AssertionError(f"{request} is not in the log")


def register(server: Running, tiny_base: Path, folder: Path) -> Release:
    base = resolve_base(ModelSpec(base=str(tiny_base)), server.home)
    digest = make_adapter(base.path, folder)
    registry = Registry(server.home)
    fields = {
        "name": "Straße",
        "base": base.name,
        "base_digest": base.digest,
        "adapter_digest": digest,
        "template_digest": Renderer(base.path).template_digest,
        "dataset_digest": "d" * 64,
        "report_digest": "r",
        "decision_digest": "e",
        "outcome": "pass",
        "run": "run",
        "max_new_tokens": 6,
        "created": "2026-01-02T03:04:05+00:00",
    }
    release, _ = registry.register(Release.model_validate(fields), folder)
    registry.close()
    return release


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_says_where_it_comes_from_and_is_written_down(
    server: Running, client: openai.OpenAI, tiny_base: Path, tmp_path: Path, stream: bool
) -> None:
    release = register(server, tiny_base, tmp_path / "adapter")
    raw = client.chat.completions.with_raw_response.create(model="Straße@v1", messages=ASKED, stream=stream, n=2)
    answer: Any = raw.parse()
    if stream:
        assert list(answer)
    shown = {name: value for name, value in raw.headers.items() if name.startswith("x-tunesmith-")}
    assert shown == {
        "x-tunesmith-release": "Stra%C3%9Fe@v1",
        "x-tunesmith-release-digest": release.identity(),
        "x-tunesmith-adapter-digest": release.adapter_digest,
        "x-tunesmith-dataset-digest": "d" * 64,
        "x-tunesmith-base": release.base,
        "x-tunesmith-base-digest": release.base_digest,
        "x-tunesmith-template-digest": release.template_digest,
    }
    entry = entry_of(server.home, raw.headers["x-request-id"])
    prompt = Renderer(tiny_base).prompt_ids([Message(role="user", content=QUESTION)])
    expected = {
        "project": "default",
        "role": "admin",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "model": "Straße@v1",
        "release": "Straße@v1",
        "release_digest": release.identity(),
        "base_digest": release.base_digest,
        "template_digest": release.template_digest,
        "prompt_digest": hashlib.sha256(array("I", prompt).tobytes()).hexdigest(),
        "prompt_tokens": len(prompt),
        "completion_tokens": 12,
    }
    assert {name: entry[name] for name in expected} == expected
    assert entry["key"].startswith("key_")
    assert abs(entry["at"] - time.time()) < 60


def test_the_base_says_that_it_is_the_base(server: Running, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="base", messages=ASKED, max_tokens=2)
    assert raw.headers["x-tunesmith-release"] == "base"
    assert "x-tunesmith-dataset-digest" not in raw.headers
    entry = entry_of(server.home, raw.headers["x-request-id"])
    assert (entry["model"], entry["release"], entry["completion_tokens"]) == ("base", None, 2)


def test_refusals_and_changes_are_written_and_reading_is_not(server: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=ASKED)
    made = client.post("/tunesmith/keys", body={"role": "read"}, cast_to=dict[str, Any])
    with server.client(api_key=made["key"]) as reader, pytest.raises(openai.PermissionDeniedError) as denied:
        reader.models.delete("base")
    listed = client.models.with_raw_response.list()
    entry = entry_of(server.home, str(unknown.value.request_id))
    assert (entry["status"], entry["model"], entry["prompt_digest"]) == (404, None, None)
    entry = entry_of(server.home, str(denied.value.request_id))
    assert (entry["status"], entry["key"], entry["role"], entry["method"]) == (403, made["id"], "read", "DELETE")
    rows = audit(server.home, "show", "--limit", "100")[1]
    assert next(row["entry"]["path"] for row in rows if row["entry"]["status"] == 200) == "/v1/tunesmith/keys"
    assert listed.headers["x-request-id"] not in json.dumps(rows)
    assert not {"x-tunesmith-release"} & set(listed.headers)


def test_nothing_that_was_said_is_in_the_log(server: Running, client: openai.OpenAI) -> None:
    secret = "the word is Rumpelstilzchen"
    messages: Any = [{"role": "user", "content": secret}]
    raw = client.chat.completions.with_raw_response.create(model="base", messages=messages)
    entry_of(server.home, raw.headers["x-request-id"])
    found = [path for path in server.home.rglob("*") if path.is_file() and b"Rumpelstilz" in path.read_bytes()]
    assert not found


def test_a_changed_row_is_detected(tiny_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        for _ in range(4):
            client.chat.completions.create(model="base", messages=ASKED, max_tokens=2)
    code, whole = audit(home, "verify")
    assert (code, whole["rows"], whole["broken"]) == (0, 4, None)
    assert audit(home, "verify", "--noted", whole["head"])[0] == 0
    assert audit(home, "verify", "--noted", "f" * 64)[0] == 1
    with sqlite3.connect(home / "registry.db") as database:
        database.execute("UPDATE audit_log SET content = replace(content, 'default', 'another') WHERE number = 3")
    database.close()
    code, found = audit(home, "verify")
    assert (code, found["broken"], found["rows"]) == (1, 3, 2)
