"""Adapters trained one after the other on one base: each ends with the bytes it has when trained alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.invariant.runs import write_recipe
from tunesmith import pipeline, plugins
from tunesmith.grids import load_grid
from tunesmith.progress import Silent
from tunesmith.settings import Settings
from tunesmith.train import loop, shared
from tunesmith.types.run import RunRecord
from tunesmith.types.tuning import TuneReport

ROOT = Path(__file__).parents[2]


def tune(recipe: Path, home: Path, *axes: str) -> TuneReport:
    return pipeline.tune(load_grid(recipe, {}, axes), recipe.parent, Settings(home=home), Silent())


def alone(recipe: Path, home: Path, *axes: str) -> list[RunRecord]:
    """The same points, each by `train` as in a process of its own."""
    points = load_grid(recipe, {}, axes)
    return [pipeline.train(point.recipe, recipe.parent, Settings(home=home), Silent()) for point in points]


def content(folder: str | Path) -> dict[str, bytes]:
    """Everything under a run's folder that training computed, without timings."""
    files = [*(Path(folder) / "adapter").iterdir(), *Path(folder).glob("checkpoints/*/adapter.safetensors")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def assert_same(report: TuneReport, records: list[RunRecord]) -> None:
    assert [point.failure for point in report.points] == [None] * len(records)
    for point, record in zip(report.points, records, strict=True):
        assert point.run is not None
        assert point.run_id == record.id
        assert content(point.run.path) == content(record.path)
        timed = {"path", "seconds", "processor_seconds", "predicted_peak_bytes", "actual_peak_bytes", "checks"}
        assert point.run.model_dump(exclude=timed) == record.model_dump(exclude=timed)
        assert [(check.name, check.passed) for check in point.run.checks] == [
            (check.name, check.passed) for check in record.checks
        ]


def test_ranks_rates_and_seeds(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    axes = ("train.method.rank=2,4", "train.learning_rate=0.01,0.02,0.01", "train.seed=1,2")
    threads = torch.get_num_threads()
    report = tune(recipe, tmp_path / "grid", *axes)
    assert len(report.points) == 8
    assert_same(report, alone(recipe, tmp_path / "alone", *axes))
    reused = {part.what: part.times for part in report.shared}
    assert reused["base"] == 15  # each run trains on it and puts its saved adapter on it; the first one loads it
    assert reused["rendered rows"] == 7
    assert torch.get_num_threads() == threads
    losses = {point.run_id: point.run.best_validation_loss for point in report.points if point.run}
    assert report.best == min(losses, key=lambda run: losses[run] or 0.0)
    assert "test split" in report.choice


# Every method with its default options, and those that begin from other weights than the base's.
METHODS: list[dict[str, Any]] = [
    *({"name": name} for name in plugins.names("tunesmith.models.methods")),
    {"name": "lora", "rank": 4, "init": "pissa"},
    {"name": "lora", "rank": 4, "init": "eva", "last_layers": 1},
]


@pytest.mark.slow
def test_every_method_after_every_other(tmp_path: Path, tiny: Path) -> None:
    """No method leaves anything behind in the base, in the random numbers or in the frozen layers' output."""
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    axis = "train.method=" + ",".join(json.dumps(method) for method in METHODS)
    assert_same(tune(recipe, tmp_path / "grid", axis), alone(recipe, tmp_path / "alone", axis))


def test_frozen_layers_are_computed_once_for_all_ranks(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1, method={"name": "lora", "last_layers": 1})
    axes = ("train.method.rank=2,4,8", "train.batching=tree,padded")
    report = tune(recipe, tmp_path / "grid", *axes)
    assert_same(report, alone(recipe, tmp_path / "alone", *axes))
    assert {part.what: part.times for part in report.shared}["frozen layers"] == 2


def test_a_base_that_was_written_into_is_loaded_anew(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    records = alone(recipe, tmp_path / "alone", "train.seed=1,2")
    copied = shared.shared_copy

    def spoilt(model: Any) -> Any:
        made = copied(model)
        monkeypatch.setattr(shared, "shared_copy", copied)
        with torch.no_grad():
            spoilt.tensor = model.get_input_embeddings().weight  # type: ignore[attr-defined]
        return made

    monkeypatch.setattr(shared, "shared_copy", spoilt)
    step = loop._step

    def writes(training: Any, number: int) -> Any:
        result = step(training, number)
        if number == 0 and training.options.seed == 1:
            with torch.no_grad():
                spoilt.tensor[-1, -1] += 1.0  # type: ignore[attr-defined]
        return result

    monkeypatch.setattr(loop, "_step", writes)
    report = tune(recipe, tmp_path / "grid", "train.seed=1,2")
    assert report.points[1].run is not None
    assert content(report.points[1].run.path) == content(records[1].path)


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    report = tune(recipe, tmp_path / "grid", "train.learning_rate=0.01,1e30,0.02")
    fine, broken, other = report.points
    assert report.failed == 1
    assert broken.run is None
    assert broken.failure is not None
    assert report.best in (fine.run_id, other.run_id)
    records = alone(recipe, tmp_path / "alone", "train.learning_rate=0.01,0.02")
    assert [content(point.run.path) for point in (fine, other) if point.run] == [content(run.path) for run in records]


def test_finished_runs_are_reused(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    (record,) = alone(recipe, tmp_path, "train.seed=2")
    report = tune(recipe, tmp_path, "train.seed=1,2")
    assert report.points[1].run == record
    assert alone(recipe, tmp_path, "train.seed=1")[0] == report.points[0].run


def test_losses_of_different_objectives_are_not_compared(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=1)
    report = tune(recipe, tmp_path / "grid", "train.objective.label_smoothing=0.0,0.1")
    assert report.best is None
    assert "do not compare" in report.choice
    assert tune(recipe, tmp_path / "grid", "train.objective.neftune_alpha=0.0,5.0").best is not None


def test_preferences_are_measured_on_the_test_split_by_who_trains_alone(tmp_path: Path, tiny: Path) -> None:
    """A grid leaves the test split for the one that was chosen; all bytes are the same."""
    recipe = write_recipe(tmp_path, tiny, epochs=1, objective={"name": "dpo"})
    rows = [{"prompt": f"{'ab' * (i % 5)} {i}", "chosen": "red", "rejected": f"blue {i % 3}"} for i in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    split = {"validation": 0.2, "test": 0.1}
    recipe.write_text(
        json.dumps(json.loads(recipe.read_text()) | {"prepare": {"sources": [{"path": "rows.jsonl"}], "split": split}})
    )
    axis = "train.seed=1,2"
    report = tune(recipe, tmp_path / "grid", axis)
    records = alone(recipe, tmp_path / "alone", axis)
    for point, record in zip(report.points, records, strict=True):
        assert point.run is not None
        assert point.run.held_out_preferences is not None
        assert point.run.held_out_preferences.split == "validation"
        assert content(point.run.path) == content(record.path)
    completed = alone(recipe, tmp_path / "grid", axis)
    assert [run.held_out_preferences for run in completed] == [run.held_out_preferences for run in records]
    assert {run.held_out_preferences.split for run in completed if run.held_out_preferences} == {"test"}
    assert [content(run.path) for run in completed] == [content(run.path) for run in records]
    assert tune(recipe, tmp_path / "grid", axis).points[0].run == completed[0]


def start(recipe: Path, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TUNESMITH_HOME": str(home)}
    words = ["tune", str(recipe), "--grid", "train.seed=1,2", "--grid", "train.method.rank=2,4", "--json"]
    command = [sys.executable, "-m", "tunesmith.cli.main", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path, tiny: Path) -> None:
    recipe, home = write_recipe(tmp_path, tiny), tmp_path / "grid"
    process = start(recipe, home)
    deadline = time.monotonic() + 240
    while len(list(home.glob("runs/*/checkpoints/step-*/state.json"))) < 4 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = [file.parent.name for file in home.glob("runs/*/run.json")]
    assert len(finished) < 4
    process = start(recipe, home)
    shown, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert all(f"reusing the finished run {run}" in errors for run in finished)
    axes = ("train.seed=1,2", "train.method.rank=2,4")
    assert_same(
        TuneReport.model_validate({k: v for k, v in json.loads(shown).items() if k != "failed"}),
        alone(recipe, tmp_path / "alone", *axes),
    )
