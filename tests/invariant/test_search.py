"""Searches on the tiny model: they find the better options, go on after kill -9 as if nothing had happened, and cannot
depend on the test split.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import NotFound
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.search.report import SearchReport
from tunesmith.search.searching import Order
from tunesmith.search.stage import search
from tunesmith.settings import Settings
from tunesmith.trials import open_grounds
from tunesmith.types.base import digest_file

ROOT = Path(__file__).parents[2]
pytest.importorskip("optuna")
AXES = ("train.learning_rate=1e-4..5e-2:log", "train.method.rank=2,8")


@pytest.fixture
def project(tmp_path: Path, tiny: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(60)]
    (folder / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    recipe = {
        "name": "colours",
        "model": {"base": str(tiny)},
        "prepare": {
            "sources": [{"path": "rows.csv", "columns": {"prompt": "question", "completion": "answer"}}],
            "split": {"validation": 0.2, "test": 0.2},
            "system": "One of: {labels}",
        },
        "train": {
            "method": {"name": "lora", "rank": 8, "last_layers": 1},
            "epochs": 4, "batch_size": 8, "learning_rate": 0.01, "trackers": [], "checkpoint_every": 2,
        },
        "evaluate": {"max_new_tokens": 5, "concurrency": 8, "metrics": ["accuracy", "invalid_rate"]},
        "gate": {"rules": [{"name": "min_score", "model": "tuned", "metric": "accuracy", "at_least": 0.9}]},
        "release": {"name": "colours"},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder


def order(project: Path, **changes: Any) -> Order:
    return Order(project / "recipe.yaml", {}, AXES, "", 0, True)._replace(**changes)


def outcome(report: SearchReport) -> list[Any]:
    """Everything of a report that time does not change."""
    return [trial.model_dump(exclude={"seconds"}) for trial in report.trials]


@pytest.mark.slow
def test_killed_it_goes_on_as_if_nothing_had_happened(project: Path, tmp_path: Path) -> None:
    whole, _ = search(order(project), 5, Settings(home=tmp_path / "whole"), Silent())
    assert [trial.number for trial in whole.trials] == [0, 1, 2, 3, 4]
    assert whole.trials[0].options == {"train.learning_rate": 0.01, "train.method.rank": 8}, "the recipe's own first"
    assert whole.best_trial is not None
    assert whole.best_trial.value == max(trial.value for trial in whole.trials if trial.value is not None)
    assert any(trial.state == "pruned" for trial in whole.trials)
    assert all(1 <= trial.epochs < 4 for trial in whole.trials if trial.state == "pruned")

    home = tmp_path / "killed"
    axes = [word for axis in AXES for word in ("--space", axis)]
    command = [sys.executable, "-m", "tunesmith.cli.main", "search", str(project / "recipe.yaml"), *axes]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TUNESMITH_HOME": str(home)}
    process = subprocess.Popen([*command, "--trials", "5"], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(home.glob("runs/*/run.json"))) < 1 or len(list(home.glob("runs/*/metrics.jsonl"))) < 2:
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again, _ = search(order(project), 5, Settings(home=home), Silent())
    assert outcome(again) == outcome(whole)


@pytest.mark.slow
def test_it_cannot_depend_on_the_test_split(project: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    recipe = load_recipe(project / "recipe.yaml")
    grounds = open_grounds(recipe, project, Settings(home=first), Silent())
    assert "test" not in grounds.dataset.manifest.splits
    with pytest.raises(NotFound):
        grounds.dataset.examples("test")
    with pytest.raises(NotFound):
        grounds.dataset.rows("test")
    shutil.copytree(first, second)
    _scramble(next((second / "datasets").iterdir()))
    seen, _ = search(order(project), 2, Settings(home=first), Silent())
    unseen, _ = search(order(project), 2, Settings(home=second), Silent())
    assert outcome(seen) == outcome(unseen)


def _scramble(dataset: Path) -> None:
    """Other answers in the test split, sealed as if they had always been there."""
    rows = [json.loads(line) for line in (dataset / "test.jsonl").read_text().splitlines()]
    for row in rows:
        row["content"]["messages"][-1]["content"] = "green"
    (dataset / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["split_digests"]["test"] = digest_file(dataset / "test.jsonl")
    (dataset / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_trials_in_postgresql(project: Path, tmp_path: Path, postgres_database_url: str) -> None:
    settings = Settings(home=tmp_path / "home", database_url=postgres_database_url)
    report, _ = search(order(project, prunes=False), 1, settings, Silent())
    again, file = search(order(project, prunes=False), 1, settings, Silent())
    assert outcome(again) == outcome(report)
    assert not (tmp_path / "home" / "search.db").exists()
    assert json.loads(file.read_text())["best"] == 0


@pytest.mark.slow
def test_trials_on_ray(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="pip install 'tunesmith[ray]'")
    from tunesmith.search.on_ray import RayTrials

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    settings = Settings(home=tmp_path / "home")
    report, _ = search(order(project, prunes=False), 3, settings, Silent(), RayTrials(2, settings))
    assert [trial.state for trial in report.trials] == ["complete"] * 3
    assert report.best is not None
