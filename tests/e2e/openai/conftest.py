"""A server started as a user starts it, and the official client that speaks to it.

The base is the tiny model, so answers are noise, but every part of the way is the real one.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import openai
import pytest

from tunesmith.testing.tiny import make_tiny_model


class Running(NamedTuple):
    """A server's address (ending in /v1), the admin's key, its home and its process."""

    url: str
    key: str
    home: Path
    process: subprocess.Popen[str]

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client, which does not repeat what failed."""
        return openai.OpenAI(**{"base_url": self.url, "api_key": self.key, "max_retries": 0, **options})


@contextmanager
def start_server(home: Path, base: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """`tunesmith serve` on a free port; terminated at the end of the block."""
    ours = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TUNESMITH_HOME": str(home), "TUNESMITH_THREADS": "1"}
    command = [sys.executable, "-m", "tunesmith.cli.main", "serve", "--base", str(base), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, env={**os.environ, **ours, **(environment or {})}
    )
    try:
        assert process.stdout is not None
        ready = _announcement(process.stdout)
        yield Running(ready["url"], _key(ready, home, environment or {}), home, process)
    finally:
        process.terminate()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def _key(ready: dict[str, Any], home: Path, environment: dict[str, str]) -> str:
    """The administrator's key. It is shown at the first start only, so it is kept beside the home for the next ones."""
    kept = home.with_name(f"{home.name}.key")
    if ready["key"] is not None:
        kept.write_text(ready["key"], encoding="utf-8")
    if "TUNESMITH_ADMIN_KEY" in environment:
        return environment["TUNESMITH_ADMIN_KEY"]
    return kept.read_text(encoding="utf-8") if kept.is_file() else "not-needed"


def _announcement(output: IO[str]) -> dict[str, Any]:
    """The JSON document that the server prints when it is ready."""
    text = ""
    for line in output:
        text += line
        try:
            found: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError:
            continue  # not whole yet
        return found
    raise AssertionError(f"the server ended before it was ready: {text}")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("openai") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that do not disturb each other."""
    with start_server(tmp_path_factory.mktemp("openai-home"), tiny_base) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


def _member_of_a_new_project(admin: openai.OpenAI, server: Running) -> openai.OpenAI:
    grant = {"project": f"project-{secrets.token_hex(4)}", "role": "member"}
    made = admin.post("/tunesmith/keys", body=grant, cast_to=dict[str, Any])
    return server.client(api_key=made["key"])


@pytest.fixture
def mine(client: openai.OpenAI, server: Running) -> Iterator[openai.OpenAI]:
    """A client of a project in which nothing is stored yet."""
    with _member_of_a_new_project(client, server) as found:
        yield found


@pytest.fixture
def theirs(client: openai.OpenAI, server: Running) -> Iterator[openai.OpenAI]:
    """A client of another new project."""
    with _member_of_a_new_project(client, server) as found:
        yield found
