"""Early stopping: training ends when validation stops improving, and the best checkpoint is what is released."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings

RECIPE = {
    "name": "noise",
    "prepare": {
        "sources": [{"path": "rows.jsonl"}],
        "split": {"validation": 0.3, "test": 0.2, "stratify": "no"},
        "system": "One of: {labels}",
    },
    "train": {
        "method": {"name": "lora", "rank": 8},
        "epochs": 30,
        "batch_size": 4,
        "learning_rate": 0.02,
        "schedule": "constant",
        "patience": 2,
        "keep_checkpoints": 1,
        "precision": "float32",
        "trackers": [],
    },
    "evaluate": {"max_new_tokens": 4, "concurrency": 4, "metrics": ["accuracy"], "compare": ["base", "tuned"]},
    "gate": {"rules": [{"name": "min_score", "model": "tuned", "metric": "accuracy", "at_least": 0.0}]},
    "release": {"name": "noise"},
}


@pytest.mark.slow
def test_the_best_checkpoint_is_released_and_nothing_more_is_trained(tmp_path: Path, tiny: Path) -> None:
    """The answers' words can be learned, which of them comes cannot: validation gets better, then only worse."""
    rows = [{"prompt": f"case {i}", "completion": ("red", "blue")[(i * i + i // 3) % 2]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE | {"model": {"base": str(tiny)}}))
    recipe, settings = load_recipe(tmp_path / "recipe.yaml"), Settings(home=tmp_path / "home")
    outcome = pipeline.run(recipe, tmp_path, settings, Silent())
    run, folder = outcome.run, Path(outcome.run.path)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validation = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    best = min(validation, key=lambda step: validation[step])
    later = [step for step in validation if step > best]

    assert run.best_step == best < run.steps == max(validation)
    assert len(later) == 2  # patience
    assert len(validation) - 1 < 30  # epochs asked for; the first is before training
    assert run.best_validation_loss == validation[best]

    checkpoint = load_file(folder / "checkpoints" / f"step-{best:06d}" / "adapter.safetensors")
    released = load_file(Path(outcome.release.adapter_path) / "adapter_model.safetensors")
    assert checkpoint.keys() == released.keys()
    assert all(torch.equal(checkpoint[name], released[name]) for name in checkpoint)
    assert outcome.release.adapter_digest == run.adapter_digest

    (folder / "run.json").unlink()
    again = pipeline.train(recipe, tmp_path, settings, Silent())
    assert (again.adapter_digest, again.steps, again.best_step) == (run.adapter_digest, run.steps, best)
    assert [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] == lines
