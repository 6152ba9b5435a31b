"""A small training run on the tiny model, startable as a process of its own so that it can be killed.

python -m tests.invariant.runs HOME BASE [TRAIN OPTIONS AS JSON]
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.garbage import search_rarely
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.parents import find_parent
from tunesmith.prepare.stage import prepare
from tunesmith.progress import Silent
from tunesmith.settings import Settings
from tunesmith.train.finish import TrainingInput
from tunesmith.train.stage import train
from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec
from tunesmith.types.run import RunRecord

__all__ = ["run", "write_recipe"]

SPEC = {
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 0.01,
    "checkpoint_every": 3,
    "trackers": [],
    "precision": "float32",
    "method": {"name": "lora", "rank": 4, "dropout": 0.1},
}
WORDS = ("red", "green", "blue", "grey")


def run(home: Path, base: Path, validation: float = 0.15, words: Sequence[str] = WORDS, **changes: Any) -> RunRecord:
    """Train on 24 made-up rows (3 of them for validation unless told) and return the record."""
    _write_rows(home, words)
    files = resolve_base(ModelSpec(base=str(base)), home)
    spec = PrepareSpec.model_validate(_prepare_spec(validation))
    dataset = prepare(spec, renderer=Renderer(files.path), base_dir=home, home=home)
    begin = {name: value for name, value in SPEC.items() if name != "method" or "start_from" not in changes}
    train_spec = TrainSpec.model_validate(begin | changes)
    parent = find_parent(train_spec, home, Settings(home=home))
    return train(train_spec, TrainingInput("kill", files, dataset, home, parent=parent), Silent())


def write_recipe(folder: Path, base: Path, validation: float = 0.15, **changes: Any) -> Path:
    """The same run as a recipe with its rows in `folder`, for the command line."""
    _write_rows(folder)
    recipe = {
        "name": "kill",
        "model": {"base": str(base)},
        "prepare": _prepare_spec(validation),
        "train": SPEC | changes,
        "release": {"name": "kill"},
    }
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe, indent=2))  # JSON is YAML
    return file


def _write_rows(folder: Path, words: Sequence[str] = WORDS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"{'ab' * (i % 5)} {i}", "completion": words[i % 4]} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _prepare_spec(validation: float) -> dict[str, Any]:
    split = {"validation": validation, "test": 0.0, "stratify": "no"}
    return {"sources": [{"path": "rows.jsonl"}], "split": split, "system": "Which colour?"}


if __name__ == "__main__":
    search_rarely()
    warnings.simplefilter("ignore")
    run(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))
