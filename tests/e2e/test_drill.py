"""`tunesmith drill` on the tiny model: real processes, killed at random steps, ending with the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.invariant.runs import write_recipe
from tunesmith.cli.kills import DrillReport, Kill, Round
from tunesmith.cli.main import app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUNESMITH_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return tmp_path / "home"


@pytest.mark.slow
def test_killed_runs_end_with_the_bytes_of_the_undisturbed_one(tmp_path: Path, tiny: Path, home: Path) -> None:
    recipe = write_recipe(tmp_path, tiny)
    result = CliRunner().invoke(app, ["drill", str(recipe), "--kills", "3", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["kills"], report["different"], report["steps"]) == (3, 0, 15)
    assert {each["adapter_digest"] for each in report["rounds"]} == {report["undisturbed"]["adapter_digest"]}
    for kill in (kill for each in report["rounds"] for kill in each["kills"]):
        assert kill["checkpoint_step"] <= kill["last_step"] >= kill["wanted_step"]
    assert not list(home.glob("drill-*"))


def test_a_recipe_that_fails_by_itself_is_said_to(tmp_path: Path, tiny: Path, home: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, validation=0.0, patience=1)
    result = CliRunner().invoke(app, ["drill", str(recipe)])
    assert result.exit_code == 1
    assert "Training failed by itself (exit code 1)" in result.output
    assert "has no effect without validation rows" in result.output


def test_only_kills_that_struck_and_rounds_that_differ_are_counted() -> None:
    def a_round(digest: str, *struck: bool) -> Round:
        kills = tuple(Kill(wanted_step=1, last_step=1, checkpoint_step=0, struck=each) for each in struck)
        return Round(kills=kills, adapter_digest=digest, seconds=0.0)

    rounds = (a_round("a", True, True), a_round("b", True, False), a_round("a"))
    report = DrillReport(seed=0, steps=9, undisturbed=a_round("a"), rounds=rounds)
    assert (report.kills, report.different) == (3, 1)
