"""inspect-ai against our server, through its provider for OpenAI-compatible services."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.clients import PYTHON, QUESTIONS, REASON, run, write_lines
from tests.e2e.openai.conftest import Running

pytestmark = [pytest.mark.skipif(not PYTHON, reason=REASON), pytest.mark.timeout(300), pytest.mark.slow]

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import exact
from inspect_ai.solver import generate

@task
def mine():
    return Task(dataset=json_dataset("rows.jsonl"), solver=generate(), scorer=exact())
"""


def test_a_task_has_the_score_that_the_answers_give_it(server: Running, tmp_path: Path) -> None:
    """Four of six targets are what the server says, so the accuracy is 4/6, over chat completions."""
    rows = []
    for place, (question, _) in enumerate(QUESTIONS):
        found = server.client().chat.completions.create(
            model="base", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=8
        )
        rows.append({"input": question, "target": found.choices[0].message.content if place % 3 else "never said"})
    write_lines(tmp_path / "rows.jsonl", rows)
    (tmp_path / "mine.py").write_text(TASK, encoding="utf-8")
    run(
        "inspect", "eval", "mine.py", "--model", "openai-api/tunesmith/base", "--temperature", "0", "--max-tokens", "8",
        "--log-format", "json", "--log-dir", "logs", "--display", "plain",
        folder=tmp_path, environment={"TUNESMITH_BASE_URL": server.url, "TUNESMITH_API_KEY": server.key},
    )  # fmt: skip
    (log,) = (tmp_path / "logs").glob("*.json")
    written = json.loads(log.read_text(encoding="utf-8"))
    assert written["status"] == "success"
    assert written["results"]["scores"][0]["metrics"]["mean"]["value"] == pytest.approx(4 / 6)
    assert written["stats"]["model_usage"]["openai-api/tunesmith/base"]["output_tokens"] > 0
