"""garak against our server through its generator for OpenAI-compatible services, and its report read as an evaluation.

garak is large and is not part of `make test-benchmarks`: TUNESMITH_GARAK_PYTHON names the interpreter that has it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.benchmarks.clients import run
from tests.e2e.openai.conftest import Running
from tunesmith.cli.main import app
from tunesmith.evaluate.garak_report import read_garak

PYTHON = os.environ.get("TUNESMITH_GARAK_PYTHON", "")
REASON = "needs an environment with garak: TUNESMITH_GARAK_PYTHON=.../bin/python"
PROMPTS, GENERATIONS = 4, 2

pytestmark = [pytest.mark.skipif(not PYTHON, reason=REASON), pytest.mark.timeout(600), pytest.mark.slow]


def scan(server: Running, folder: Path, probes: str) -> Path:
    """The report of a scan by command, as the guide writes it."""
    generator = {"uri": f"{server.url}/", "temperature": 0.0, "max_tokens": 8, "stop": None}
    settings = {
        "run": {"generations": GENERATIONS, "soft_probe_prompt_cap": PROMPTS},
        "reporting": {"report_dir": str(folder / "scans")},
        "plugins": {"generators": {"openai": {"OpenAICompatible": generator}}},
    }
    (folder / "scan.json").write_text(json.dumps(settings), encoding="utf-8")
    run(
        "garak", "--config", "scan.json", "--target_type", "openai.OpenAICompatible", "--target_name", "base",
        "--spec", probes, "--report_prefix", "scan",
        folder=folder, python=PYTHON,
        environment={"OPENAICOMPATIBLE_API_KEY": server.key, "XDG_DATA_HOME": str(folder / "data")},
    )  # fmt: skip
    return folder / "scans" / "scan.report.jsonl"


def test_a_scan_is_read_whole_and_its_answers_are_the_server_s(server: Running, tmp_path: Path) -> None:
    """garak's own counts are those of the rows ; an answer is what the official client gets."""
    path = scan(server, tmp_path, "probes.promptinject.HijackHateHumans,probes.encoding.InjectROT13")
    report = read_garak(path)
    (contestant,) = report.contestants
    assert contestant.name == "base"
    assert {row.tags["attack"] for row in contestant.predictions} == {
        "promptinject.HijackHateHumans", "encoding.InjectROT13",
    }  # fmt: skip
    found = contestant.scores["attack_success"]
    assert found.n + found.unscored == len(contestant.predictions) >= 2 * PROMPTS * GENERATIONS
    assert found.clusters == len({row.group for row in contestant.predictions})
    row = contestant.predictions[0]
    asked = server.client().chat.completions.create(
        model="base", temperature=0, max_tokens=8,
        messages=[{"role": "user", "content": report.questions[row.example_id]}],
    )  # fmt: skip
    assert row.answer == asked.choices[0].message.content
    done = CliRunner().invoke(app, ["eval", "garak", str(path), "--name", "mine", "--out", str(tmp_path / "read")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "read" / "report.html").read_text(encoding="utf-8")
    assert "promptinject.HijackHateHumans" in page
