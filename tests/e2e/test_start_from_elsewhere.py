"""`train.start_from` beside `tunesmith train`: what tunes, searches and kills goes on from the adapter too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith import pipeline
from tunesmith.cli.main import app
from tunesmith.errors import RecipeError
from tunesmith.grids import load_grid
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.search.ablation import ablate
from tunesmith.search.searching import Order
from tunesmith.search.stage import search
from tunesmith.settings import Settings
from tunesmith.store.runs import find_run
from tunesmith.store.values import read_value
from tunesmith.types.base import digest_files
from tunesmith.types.run import RunRecord

RECIPE = """
name: {name}
model: {{base: {base}}}
prepare:
  sources:
    - {{path: rows.csv, columns: {{prompt: question, completion: answer}}}}
  split: {{validation: 0.2, test: 0.2}}
train: {{{start}, epochs: 1, batch_size: 8, trackers: []}}
evaluate: {{max_new_tokens: 4, concurrency: 8, metrics: [accuracy, invalid_rate]}}
gate: {{rules: [{{name: min_score, model: tuned, metric: accuracy, at_least: 0.9}}]}}
release: {{name: {name}}}
"""


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained parent: `second.yaml` goes on from what `first.yaml` trained."""
    place = tmp_path_factory.mktemp("project")
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(60)]
    (place / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    method = "method: {name: lora, rank: 4, last_layers: 1}, learning_rate: 0.01"
    (place / "first.yaml").write_text(RECIPE.format(name="first", base=tiny, start=method))
    run = pipeline.train(load_recipe(place / "first.yaml"), place, Settings(home=place / "home"), Silent())
    (place / "second.yaml").write_text(RECIPE.format(name="second", base=tiny, start=f"start_from: {run.path}"))
    return place


def parent_of(folder: Path) -> RunRecord:
    return record_of(folder, "first")


def record_of(folder: Path, run: str) -> RunRecord:
    found = read_value(find_run(folder / "home", run).path / "run.json", RunRecord)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_grid_and_an_ablation_go_on_from_the_adapter(folder: Path) -> None:
    settings = Settings(home=folder / "home")
    points = load_grid(folder / "second.yaml", {}, ["train.learning_rate=0.01,0.002"])
    report = pipeline.tune(points, folder, settings, Silent())
    parent = parent_of(folder)
    for point in report.points:
        assert point.run is not None
        assert point.run.parent_digest == parent.adapter_digest
        assert point.run.start_validation_loss == pytest.approx(parent.best_validation_loss, abs=5e-3)
    alone = pipeline.train(points[1].recipe, folder, Settings(home=folder / "alone"), Silent())
    assert [alone.adapter_digest] == [point.run.adapter_digest for point in report.points[1:] if point.run]
    found = ablate(points, folder, settings, Silent())
    assert found.failed == 0
    assert [cell.run_id for cell in found.cells] == [point.run_id for point in report.points]


def test_a_grid_that_contradicts_the_adapter_is_refused(folder: Path) -> None:
    points = load_grid(folder / "second.yaml", {}, ["train.method.rank=4,8"])
    with pytest.raises(RecipeError, match=r"train\.method\.rank: is 8 here, and 4 in .* leave it out"):
        pipeline.tune(points, folder, Settings(home=folder / "home"), Silent())


@pytest.mark.slow
def test_a_search_goes_on_from_the_adapter(folder: Path) -> None:
    pytest.importorskip("optuna")
    order = Order(folder / "second.yaml", {}, ("train.learning_rate=1e-3..1e-2:log",), "", 0, False)
    report, _ = search(order, 2, Settings(home=folder / "home"), Silent())
    assert [trial.state for trial in report.trials] == ["complete", "complete"]
    parent = parent_of(folder)
    for trial in report.trials:
        assert record_of(folder, trial.run_id).parent_digest == parent.adapter_digest


@pytest.mark.slow
def test_a_drill_goes_on_from_the_adapter_in_every_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(folder / "home"))
    monkeypatch.setenv("TUNESMITH_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    result = CliRunner().invoke(app, ["drill", str(folder / "second.yaml"), "--kills", "1", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["kills"], report["different"]) == (1, 0)
    points = load_grid(folder / "second.yaml", {}, ["train.seed=0"])
    alone = pipeline.train(points[0].recipe, folder, Settings(home=folder / "home"), Silent())
    assert report["undisturbed"]["adapter_digest"] == digest_files((Path(alone.path) / "adapter").iterdir())


def test_decide_asks_about_the_base_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ways without a tune are the base's: a tune from elsewhere would be credited with what it started from."""
    monkeypatch.setenv("TUNESMITH_HOME", str(folder / "home"))
    result = CliRunner().invoke(app, ["decide", str(folder / "second.yaml")])
    assert result.exit_code == 1
    assert "train.start_from" in result.output
    assert "--set train.start_from=null" in result.output
