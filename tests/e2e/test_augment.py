"""`tunesmith augment` against our own server, killed while it asks: the next run asks only what was not answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tunesmith.engine.backends.echo import Echo
from tunesmith.models.weights import resolve_base
from tunesmith.serve.platform import open_platform
from tunesmith.serve.stage import ServeOptions, open_service, running
from tunesmith.settings import Settings
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.recipe import ModelSpec

ROWS = 40


class Counted:
    """The echo engine, slowly, counting what it is asked."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name != "submit":
            return found

        def counting(*arguments: Any, **options: Any) -> Any:
            self.asked += 1
            return found(*arguments, **options)

        return counting


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Counted]]:
    folder = make_tiny_model(tmp_path / "tiny")
    base = resolve_base(ModelSpec(base=str(folder)), folder)
    platform = open_platform(Settings(home=tmp_path / "home"))
    engine = Counted(Echo(length=12, delay_seconds=0.02).start(base.path))
    options = ServeOptions(port=0, keys=False)
    with running(open_service(base, platform, options, engine=engine), options) as url:
        yield f"{url}/v1", engine


def start(source: Path, out: Path, url: str) -> subprocess.Popen[str]:
    arguments = [
        "augment",
        str(source),
        "--out",
        str(out),
        "--way",
        "{name: paraphrase, least: 0, most: 1}",
        "--teacher",
        f"base@{url}",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli.main", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TUNESMITH_HOME": str(out.parent / "home")},
    )


def connections(url: str) -> list[Any]:
    """Those that somebody has with the server, which is in this process."""
    found = psutil.Process().net_connections("tcp")
    return [each for each in found if each.laddr.port == urlsplit(url).port and each.status != psutil.CONN_LISTEN]


def answered(path: Path) -> int:
    return sum(line.endswith("}") for line in path.read_text().split("\n") if line) if path.is_file() else 0


def test_a_killed_run_asks_for_nothing_twice(server: tuple[str, Counted], tmp_path: Path) -> None:
    url, engine = server
    source, out = tmp_path / "rows.jsonl", tmp_path / "more.jsonl"
    rows = ({"prompt": f"question number {index} about cards", "completion": "ok"} for index in range(ROWS))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = tmp_path / "more.jsonl.answers.jsonl"
    first = start(source, out, url)
    deadline = time.monotonic() + 120
    while answered(answers) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = answered(answers)
    assert 5 <= kept < ROWS
    assert not out.exists()
    while connections(url):  # what was under way at the server ends there
        time.sleep(0.05)
    time.sleep(1.0)
    before = engine.asked
    second = start(source, out, url)
    said, trouble = second.communicate(timeout=200)
    assert second.returncode == 0, trouble
    result = json.loads(said)
    assert (result["asked"], result["remembered"]) == (ROWS - kept, kept)
    assert engine.asked - before == ROWS - kept
    assert sum(result["ledger"].values()) == ROWS
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(written) == ROWS + result["ledger"]["kept"]
    by_family = {row["family"]: row for row in written if "parent" not in row}
    assert len(by_family) == ROWS
    assert all(row["family"] in by_family for row in written)
