"""A teacher's answers: each is kept or dropped for one named reason, and the reasons add up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.grade.grader import load_grader
from tunesmith.grade.judge import JudgeFailed, Judgement
from tunesmith.grade.teacher_answers import Asked, Quality, teacher_answers

SAID = {
    "good": Judgement(" paid ", None, 1),
    "bad": Judgement("late", None, 1),
    "long": Judgement("pa", None, 1, cut_off=True),
    "no": Judgement("", "I will not", 1),
    "void": Judgement("  ", None, 1),
}


class Teacher:
    """Says what SAID has for the last message."""

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Judgement:
        asked = messages[-1]["content"]
        if asked not in SAID:
            raise JudgeFailed("status 500")
        return SAID[asked]

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        raise AssertionError


def taught(prompts: Sequence[str], quality: Quality) -> Any:
    asked = [Asked(({"role": "user", "content": each},), {"expected": "paid"} if each else {}) for each in prompts]
    return asyncio.run(teacher_answers(asked, Teacher(), "t", {}, quality))


def test_every_answer_is_accounted_for() -> None:
    grader = load_grader({"type": "string_check", "reference": "{{item.expected}}"})
    found = taught(["good", "bad", "long", "no", "void", "gone", "good"], Quality(grader, 1.0))
    assert found.ledger == {"kept": 2, "below": 1, "cut_off": 1, "refused": 1, "empty": 1, "failed": 1}
    assert found.complaint == "status 500"
    assert found.rows[0] == {
        "messages": [{"role": "user", "content": "good"}, {"role": "assistant", "content": "paid"}],
        "grade": 1.0,
    }


def test_without_a_grader_complete_answers_are_kept() -> None:
    found = taught(["good", "bad", "long"], Quality())
    assert found.ledger == {"kept": 2, "cut_off": 1}
    assert "grade" not in found.rows[0]


def test_an_answer_that_cannot_be_graded_is_not_kept() -> None:
    grader = load_grader({"type": "string_check", "reference": "{{item.nothing}}"})
    found = taught(["good"], Quality(grader, 0.0))
    assert (found.rows, found.ledger) == ([], {"unscored": 1})
    assert "item.nothing" in found.complaint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """An OpenAI-compatible server that repeats the question; gives the bodies it was sent."""
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        seen.append(body)
        message = {"role": "assistant", "content": body["messages"][-1]["content"]}
        return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"}]})

    plain = httpx.AsyncClient

    def client(**options: Any) -> httpx.AsyncClient:
        return plain(**{**options, "transport": httpx.MockTransport(answer)})

    monkeypatch.setattr("tunesmith.grade.judge.httpx.AsyncClient", client)
    return seen


def test_the_command_writes_rows_to_train_on(server: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "yes", "want": "yes"}\n{"prompt": "no", "want": "yes"}\n')
    (tmp_path / "grader.yaml").write_text("type: string_check\nreference: '{{item.want}}'\n")
    out = tmp_path / "rows.jsonl"
    arguments = [
        "distill",
        str(tmp_path / "prompts.jsonl"),
        "--out",
        str(out),
        "--teacher",
        "big@http://t/v1",
    ]
    result = CliRunner().invoke(app, [*arguments, "--grader", str(tmp_path / "grader.yaml")])
    assert result.exit_code == 0, result.stderr
    assert "2 prompts: 1 below, 1 kept" in result.stdout
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert [message["content"] for message in row["messages"]] == ["yes", "yes"]
    assert {body["model"] for body in server} == {"big"}
    (tmp_path / "grader.yaml").write_text("type: string_check\nreference: never\n")
    out.unlink()
    refused = CliRunner().invoke(app, [*arguments, "--grader", str(tmp_path / "grader.yaml")])
    assert refused.exit_code == 1
    assert "Not one of 2 answers was kept" in refused.stderr
    assert not out.exists()


def test_an_unknown_release_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "yes"}\n')
    arguments = ["distill", str(tmp_path / "prompts.jsonl"), "--out", str(tmp_path / "o"), "--teacher", "nobody"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "nobody" in result.stderr
