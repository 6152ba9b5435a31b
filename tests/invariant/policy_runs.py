"""A small run with rewards on the tiny model, startable as a process of its own so that it can be killed.

python -m tests.invariant.policy_runs HOME BASE [TRAIN OPTIONS AS JSON]
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from tunesmith import pipeline
from tunesmith.garbage import search_rarely
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings
from tunesmith.types.run import RunRecord

__all__ = ["LETTER", "ODD", "TRAIN", "run", "write_recipe"]

LETTER = """
def grade(sample, item):
    text = sample["output_text"]
    return text.count(item["letter"]) / max(1, len(text))
"""
# Half of all characters count, so that a few steps are enough for the held-out reward to rise.
ODD = """
def grade(sample, item):
    text = sample["output_text"]
    return sum(ord(c) % 2 for c in text) / max(1, len(text))
"""
TRAIN: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 4,
    "learning_rate": 0.02,
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "checkpoint_every": 2,
    "trackers": [],
    "precision": "float32",
    "method": {"name": "lora", "rank": 8, "dropout": 0.1},
    "objective": {"name": "grpo", "completions": 8, "max_tokens": 8},
    "grader": {"name": "python", "source": ODD},
}


def run(home: Path, base: Path, validation: float = 0.25, **changes: Any) -> RunRecord:
    """Train on made-up prompts whose answers should be full of odd characters, and return the record."""
    recipe = load_recipe(write_recipe(home, base, validation, **changes))
    return pipeline.train(recipe, home, Settings(home=home), Silent())


def write_recipe(home: Path, base: Path, validation: float = 0.25, **changes: Any) -> Path:
    """The same run as a recipe with its rows in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    lines = [{"prompt": f"{'ab' * (i % 5)} {i}", "letter": "e"} for i in range(16)]
    (home / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "name": "letter",
        "model": {"base": str(base)},
        "prepare": {
            "sources": [{"path": "rows.jsonl"}],
            "split": {"validation": validation, "test": 0.0, "stratify": "no"},
        },
        "train": TRAIN | changes,
        "release": {"name": "letter"},
    }
    (home / "recipe.yaml").write_text(json.dumps(recipe))
    return home / "recipe.yaml"


if __name__ == "__main__":
    search_rarely()
    warnings.simplefilter("ignore")
    run(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))
