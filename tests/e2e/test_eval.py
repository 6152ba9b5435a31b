"""`tunesmith eval` as people use it: against our own server, against a scripted one, and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import pytest

from tunesmith.testing.tiny import make_tiny_model

ITEMS = 40
SUITE = "suite: sums\nmax_new_tokens: 8\nmetrics: [exact_match]\nfiles: [{path: rows.jsonl, type: qa}]\n"


class Scripted(ThreadingHTTPServer):
    """Speaks the streamed chat protocol; answers a question with its last word, slowly, and counts who was asked."""

    daemon_threads = True

    def __init__(self, delay_seconds: float = 0.0, wrong: str = "\0") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.delay_seconds, self.wrong = delay_seconds, wrong
        self.asked: Counter[str] = Counter()
        self.shots: set[tuple[str, ...]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"]
        self.server.shots.add(tuple(message["content"] for message in body["messages"][:-1]))
        self.server.asked[question] += 1
        time.sleep(self.server.delay_seconds)
        answer = "wrong" if self.server.wrong in question else question.split()[-1]
        events: list[dict[str, Any]] = [
            {"choices": [{"delta": {"content": answer}, "finish_reason": None}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"completion_tokens": 1, "prompt_tokens": 9}},
        ]
        said = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    found = Scripted()
    Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"question": f"echo {number}", "answer": str(number)} for number in range(ITEMS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(SUITE)
    return tmp_path


def command(folder: Path, home: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TUNESMITH_HOME": str(folder / home), "TUNESMITH_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli.main", "eval", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path, home: str, *words: str) -> tuple[int, str, str]:
    process = command(folder, home, *words)
    out, error = process.communicate(timeout=200)
    return process.returncode, out, error


def answers(folder: Path) -> Any:
    """Everything of an evaluation but its times."""
    report = json.loads((folder / "sums.evaluation.json").read_text())
    for contestant in report["contestants"]:
        contestant.pop("latency_median_seconds")
        for row in contestant["predictions"]:
            row.pop("seconds")
            row.pop("first_token_seconds")
    return report


@pytest.mark.slow
def test_a_killed_run_goes_on_and_asks_nothing_twice(folder: Path, server: Scripted) -> None:
    words = ("run", "sums.yaml", "--model", f"echo=m@{server.url}", "--concurrency", "4", "--out")
    code, _, error = finished(folder, "whole-home", *words, "whole")
    assert code == 0, error
    assert set(server.asked.values()) == {1}

    server.asked.clear()
    server.delay_seconds = 0.1
    process = command(folder, "home", *words, "out")
    kept = folder / "home" / "answers"
    while not kept.is_dir() or sum(file.read_text().count('"key"') for file in kept.iterdir()) < 10:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.3)  # what was on its way ends at the server
    had = {json.loads(line)["answer"]["text"] for file in kept.iterdir() for line in file.read_text().splitlines()[1:]}
    assert 10 <= len(had) < ITEMS
    assert not (folder / "out").exists()

    server.delay_seconds = 0.0
    assert finished(folder, "home", *words, "out")[0] == 0
    assert len(server.asked) == ITEMS
    assert all(server.asked[f"echo {number}"] == 1 for number in had)
    assert sum(server.asked.values()) <= ITEMS + 4  # only what was on its way when it was killed
    assert answers(folder / "out") == answers(folder / "whole")

    server.asked.clear()
    assert finished(folder, "home", *words, "again")[0] == 0
    assert not server.asked
    assert answers(folder / "again") == answers(folder / "out")


def test_reports_comparisons_and_exit_codes(folder: Path, server: Scripted) -> None:
    code, shown, error = finished(
        folder, "home", "run", "sums.yaml", "--model", f"old=m@{server.url}", "--out", "a", "--json"
    )
    assert code == 0, error
    assert json.loads(shown)["suites"]["sums"]["scores"]["old"]["exact_match"]["value"] == 1.0
    assert sorted(path.name for path in (folder / "a").iterdir()) == [
        "report.html", "report.json", "report.junit.xml", "report.md", "sums.evaluation.json",
    ]  # fmt: skip
    server.wrong = "1"
    assert finished(folder, "home", "run", "sums.yaml", "--model", f"new=worse@{server.url}", "--out", "b")[0] == 0
    code, shown, _ = finished(folder, "home", "compare", "a", "b", "--json")
    (found,) = json.loads(shown)["sums"]
    wrong = sum("1" in str(number) for number in range(ITEMS))
    assert (code, found["won"], found["lost"]) == (1, 0, wrong)
    assert finished(folder, "home", "compare", "b", "a")[0] == 0
    (folder / "b" / "report.junit.xml").unlink()
    code, shown, _ = finished(folder, "home", "report", "b", "--format", "junit")
    assert (code, shown.strip()) == (0, "b/report.junit.xml")
    suite = ElementTree.parse(folder / "b" / "report.junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == str(wrong)


def test_what_is_wrong_is_said_before_anything_is_asked(folder: Path, server: Scripted) -> None:
    code, _, error = finished(folder, "home", "run", "sum.yaml", "--model", f"m@{server.url}")
    assert (code, "did you mean" in error) == (1, True)
    code, _, error = finished(folder, "home", "run", "sums.yaml", "--model", f"m+prompt@{server.url}+prompt+2shots")
    assert code == 1
    assert "--system" in error
    assert "2 examples are wanted" in error
    assert not server.asked


@pytest.mark.slow
def test_a_model_of_this_machine_through_a_server_of_our_own(folder: Path) -> None:
    base = make_tiny_model(folder / "tiny")
    (folder / "choices.yaml").write_text(
        "suite: choices\nmax_new_tokens: 4\nmetrics: [exact_match, perplexity]\n"
        "items:\n  - {type: qa, question: 'red?', answer: 'yes'}\n  - {type: qa, question: 'blue?', answer: 'no'}\n"
    )
    words = ("--base", str(base), "--model", "base", "--model", "base+prompt+1shot", "--system", "Say yes or no.")
    code, shown, error = finished(folder, "home", "run", "choices.yaml", *words, "--examples", "sums.yaml", "--json")
    assert code == 0, error
    result = json.loads(shown)
    scores = result["suites"]["choices"]["scores"]
    assert list(scores) == ["base", "base+prompt+1shot"]
    assert all(each["perplexity"]["value"] > 1 for each in scores.values())
    assert scores["base"]["perplexity"]["value"] != scores["base+prompt+1shot"]["perplexity"]["value"]
    report = json.loads((Path(result["folder"]) / "choices.evaluation.json").read_text())
    bare, shot = (each["predictions"][0]["prompt_tokens"] for each in report["contestants"])
    assert shot > bare + len("Say yes or no.")

    make_tiny_model(base, seed=1)  # another model in the same folder is not answered from what the first one said
    words = ("--base", str(base), "--model", "base", "--out", "again")
    code, shown, error = finished(folder, "home", "run", "choices.yaml", *words, "--json")
    assert code == 0, error
    other = json.loads(shown)["suites"]["choices"]["scores"]["base"]["perplexity"]["value"]
    assert other != scores["base"]["perplexity"]["value"]


def test_examples_that_are_asked_themselves_are_left_out(folder: Path, server: Scripted) -> None:
    (folder / "shots.yaml").write_text(
        "suite: shots\nmetrics: [exact_match]\nitems:\n"
        "  - {type: qa, question: '  Echo 7 ', answer: '7'}\n  - {type: qa, question: echo me, answer: me}\n"
    )
    words = ("run", "sums.yaml", "--examples", "shots.yaml", "--out", "out", "--model")
    code, _, error = finished(folder, "home", *words, f"m@{server.url}+2shots")
    assert code == 1
    assert "1 with an answer are there, besides 1 that are asked themselves" in " ".join(error.split())
    assert not server.asked
    code, _, error = finished(folder, "home", *words, f"m@{server.url}+1shot")
    assert code == 0, error
    assert "1 are left out, since they are asked themselves" in error
    assert server.shots == {("echo me", "me")}
