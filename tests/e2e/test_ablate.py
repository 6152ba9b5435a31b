"""`tunesmith ablate`: a table of all combinations on the validation rows, as CSV, Markdown, plot and JSON."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tunesmith.engine.backends._engine import EmbeddedEngine
from tunesmith.errors import ModelError
from tunesmith.grids import load_grid
from tunesmith.progress import Silent
from tunesmith.search.ablation import ablate
from tunesmith.search.ablation_files import write
from tunesmith.settings import Settings

RECIPE = """
name: colours
model: {{base: {base}}}
prepare:
  sources:
    - {{path: rows.csv, columns: {{prompt: question, completion: answer}}}}
  split: {{validation: 0.2, test: 0.2}}
train: {{method: {{name: lora, rank: 4, last_layers: 1}}, epochs: 3, batch_size: 8, trackers: []}}
evaluate: {{max_new_tokens: 5, concurrency: 8, metrics: [accuracy, invalid_rate]}}
gate: {{rules: [{{name: min_score, model: tuned, metric: accuracy, at_least: 0.9}}]}}
release: {{name: colours}}
"""


@pytest.mark.slow
def test_every_combination_is_measured_and_written(tmp_path: Path, tiny: Path) -> None:
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny))
    axes = ["train.learning_rate=0.02,1e-4", "train.method.rank=2,4"]
    points = load_grid(tmp_path / "recipe.yaml", {}, axes)
    found = ablate(points, tmp_path, Settings(home=tmp_path / "home"), Silent())
    assert found.failed == 0
    assert found.rows == 12
    values = [cell.scores["accuracy"].value for cell in found.cells]
    assert found.best == values.index(max(value for value in values if value is not None))
    assert found.cells[found.best].options["train.learning_rate"] == 0.02, "1e-4 learns next to nothing"
    win = found.cells[found.best]
    assert win.against is not None
    ties = 12 - win.against.won - win.against.lost
    assert win.win_rate == (win.against.won + ties / 2) / 12
    files = write(found, tmp_path / "home")
    with files.csv.open() as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["accuracy"]) for line in lines] == values
    assert [line["train.method.rank"] for line in lines] == ["2", "4", "2", "4"]
    assert all(int(line["peak_bytes"]) > 0 and float(line["median_latency_seconds"]) > 0 for line in lines)
    picture = ElementTree.fromstring(files.svg.read_text())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}circle")) == 4
    text = files.markdown.read_text()
    assert text.count("\n| ") == 6  # heads, a rule and four combinations
    assert "the test split was not looked at" in text
    assert json.loads(files.json.read_text())["best"] == found.best


@pytest.mark.slow
def test_an_adapter_that_the_engine_refuses_is_said_and_the_others_are_measured(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rounding leaves nothing of a tune, the engine refuses it; which once ended the ablation."""
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny).replace("epochs: 3", "epochs: 1"))
    load, seen = EmbeddedEngine.load_adapter, list[str]()

    async def refuse_first(self: EmbeddedEngine, digest: str, path: Path) -> None:
        seen.append(digest)
        if len(seen) == 1:
            raise ModelError(f"The adapter {digest[:12]} changes nothing.")
        await load(self, digest, path)

    monkeypatch.setattr(EmbeddedEngine, "load_adapter", refuse_first)
    points = load_grid(tmp_path / "recipe.yaml", {}, ["train.learning_rate=0.01,0.02"])
    found = ablate(points, tmp_path, Settings(home=tmp_path / "home"), Silent())
    assert (found.failed, found.best) == (1, 1)
    assert "changes nothing" in found.cells[0].failure
    assert " failed: The adapter" in write(found, tmp_path / "home").markdown.read_text()
