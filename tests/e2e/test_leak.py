"""Canaries among the training rows of a real tune on the tiny model, and what `tunesmith leak` finds of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith import pipeline
from tunesmith.cli.main import app
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings

RECIPE = """
name: leaky
model: {{base: {base}}}
prepare:
  sources: [{{path: rows.jsonl}}, {{path: canaries.jsonl, split: train}}]
  split: {{validation: 0, test: 0.4}}
train:
  method: {{name: lora, rank: 32, alpha: 64}}
  epochs: 30
  batch_size: 8
  learning_rate: 0.02
release: {{name: leaky}}
"""


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_a_tune_that_repeats_a_secret_exposes_it(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    draw = random.Random(0)
    rows = [
        [
            {"role": "user", "content": f"Parcel {place}?"},
            {"role": "assistant", "content": "".join(draw.choice("abcdefgh") for _ in range(16))},
        ]
        for place in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny))
    invoke("canaries", str(tmp_path / "canaries.jsonl"), "--count", "2", "--rows", "8")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    record = pipeline.train(recipe, tmp_path, Settings(home=tmp_path / "home"), Silent())
    secrets = str(tmp_path / "canaries.secrets.json")
    found = json.loads(
        invoke("leak", str(record.path), "--canaries", secrets, "--rows", "16", "--least", "4", "--json")
    )
    assert [each["codes"] for each in found["canaries"]] == [512, 512]
    assert all(each["bits"] > 4 for each in found["canaries"]), found["canaries"]
    assert found["members"]["rows"] == 16
    assert found["controls"]["rate"] == found["base_members"]["rate"] == 0.0
    assert found["membership_auc"] > found["base_membership_auc"]
