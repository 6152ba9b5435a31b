"""`tunesmith decide` whole, on the tiny model: real answers, real tunes, a page; and again without measuring anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lines import Lines
from tunesmith.decide.options import DecideOptions
from tunesmith.decide.stage import decide
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings

RECIPE = """
name: colours
model: {{base: {base}}}
prepare:
  sources:
    - {{path: rows.csv, columns: {{prompt: question, completion: answer}}}}
  split: {{validation: 0.2, test: 0.3}}
  system: "One of: {{labels}}"
train:
  method: {{name: lora, rank: 8, last_layers: 1}}
  epochs: 4
  batch_size: 4
  learning_rate: 0.02
  trackers: []
evaluate: {{max_new_tokens: 6, concurrency: 8, metrics: [accuracy, invalid_rate]}}
gate:
  rules:
    - {{name: min_score, model: tuned, metric: accuracy, at_least: 0.9}}
release: {{name: colours}}
"""


@pytest.mark.slow
def test_a_tune_that_the_tiny_model_needs_is_recommended(tmp_path: Path, tiny: Path) -> None:
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(160)]
    (tmp_path / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny))
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "colours.md").write_text("Warm is red.\n\nCold is blue.\n")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    options = DecideOptions(
        documents=tmp_path / "documents", shots=(2,), chunks=(1,), tune_rows=64, passes=4, shares=(0.5, 0.25)
    )
    settings = Settings(home=tmp_path / "home")
    report, files = decide(recipe, tmp_path, options, settings, Silent())
    assert report.evidence.wanted == 0.9
    assert [arm.family for arm in report.held_out] == ["base", "prompt", "few_shot", "retrieval", "tuned"]
    tuned = report.held_out[-1].score.value or 0.0
    assert tuned > 0.8, "the tiny model learns two words from 64 rows"
    assert report.recommendation.choice == "lora"
    assert report.evidence.curve is not None
    assert [point.rows for point in report.evidence.curve.points] == [64, 32, 16]
    assert [point.steps for point in report.evidence.curve.points] == [64, 32, 16]
    assert "LoRA" in files.html.read_text()
    lines = Lines()
    again, _ = decide(recipe, tmp_path, options, settings, lines)
    assert again.held_out == report.held_out
    assert again.findings == report.findings
    assert sum("reusing the finished run" in line for line in lines.said) == 3
    assert json.loads(files.json.read_text())["recommendation"] == json.loads(again.recommendation.model_dump_json())
