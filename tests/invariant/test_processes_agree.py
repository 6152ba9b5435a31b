"""Every method and objective gives on two processes what it gives on one: one launch trains many recipes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.invariant import policy_runs, rank_runs
from tests.invariant.runs import SPEC
from tests.invariant.test_preference_runs import JUDGED, PAIRS
from tests.invariant.test_processes import ROOT, metrics
from tunesmith import plugins
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train.parallel.launch import launch

SFT = [{"prompt": f"{'ab' * (i % 5)} {i}", "completion": ("red", "green", "blue")[i % 3]} for i in range(14)]
STOPPED_AFTER = 3
ACCURACY = ("reward_accuracy", "validation_reward_accuracy")
# Timings, and how often one number is above another: at the start both are the same up to rounding.
NOT_COMPARED = frozenset({"tokens_per_second", "computed_tokens_per_second", "peak_bytes", *ACCURACY})
Case = tuple[list[dict[str, Any]], dict[str, Any]]

# Sampling needs a grader and distillation a teacher: they are made below.
OBJECTIVES = sorted({*plugins.names("tunesmith.train.objectives")} - {"sft", "grpo", "rloo", "distill"})
COPIES: dict[str, Case] = {
    **{name: (JUDGED if name == "kto" else PAIRS, {"objective": {"name": name}}) for name in OBJECTIVES},
    # AdaLoRA needs some steps in which its ranks move.
    **{
        name: (SFT, {"method": {"name": name}, "epochs": 3, "learning_rate": 0.002})
        for name in plugins.names("tunesmith.models.methods")
    },
    # 10 rows: the last step of an epoch has one, so that one rank has none.
    "stopped": (SFT, {"accumulate": 2, "batch_size": 3}),
}
WHOLE = {"parallel": {"strategy": "fsdp"}, "learning_rate": 0.001}
SHARDS: dict[str, Case] = {
    "freeze": (SFT, {"method": {"name": "freeze"}}),
    "dpo": (PAIRS, {"method": {"name": "full"}, "objective": {"name": "dpo"}}),
    "kto": (JUDGED, {"method": {"name": "full"}, "objective": {"name": "kto"}}),
    "padded": (SFT, {"method": {"name": "full"}, "batching": "padded", "accumulate": 3}),
    "stopped": (SFT, {"method": {"name": "full"}, "batch_size": 3, "accumulate": 2}),
}


def write(folder: Path, base: Path, rows: list[dict[str, Any]], **train: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "team",
        "model": {"base": str(base)},
        "prepare": {
            "sources": [{"path": "rows.jsonl"}],
            "split": {"validation": 0.25, "test": 0.0, "stratify": "no"},
        },
        "train": SPEC | {"epochs": 2, "method": {"name": "lora", "rank": 4}, "keep_checkpoints": 100} | train,
        "release": {"name": "team"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder / "recipe.yaml"


def train_on_two(recipes: list[Path], home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    launch([sys.executable, "-m", "tests.invariant.rank_runs", home, *map(str, recipes)], 2)


def stopped(recipe: Path, source: str, target: str) -> None:
    """The home `source` as it was after an early checkpoint, in the home `target`."""
    shutil.copytree(recipe.parent / source, recipe.parent / target)
    (folder,) = (recipe.parent / target).glob("runs/*")
    (folder / "run.json").unlink()
    for place in folder.glob("checkpoints/step-*"):
        if int(place.name.removeprefix("step-")) > STOPPED_AFTER:
            shutil.rmtree(place)


def assert_same(recipe: Path, home: str) -> None:
    assert_same_curve(recipe.parent / home, recipe.parent / "one")
    assert_same_adapter(recipe.parent / home, recipe.parent / "one")
    assert checkpoint_files(recipe.parent / home) == checkpoint_files(recipe.parent / "one")


def assert_same_curve(got: Path, expected: Path) -> None:
    """Every recorded loss, gradient norm and metric; sums are taken in another order, nothing else differs."""
    left, right = metrics(got), metrics(expected)
    assert [line["step"] for line in left] == [line["step"] for line in right]
    for ours, theirs in zip(left, right, strict=True):
        for name in set(theirs) - NOT_COMPARED:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-4), (got, ours["step"], name)


def assert_same_adapter(got: Path, expected: Path) -> None:
    """Pointwise and on average: Adam divides by the gradient's size, so rounding grows where gradients vanish."""
    ours, theirs = load_file(adapter(got)), load_file(adapter(expected))
    assert set(ours) == set(theirs)
    gaps = [float(torch.norm(ours[name] - theirs[name]) / torch.norm(theirs[name]).clamp(min=1e-9)) for name in ours]
    assert max(gaps) < 2e-2, got
    assert sum(gaps) / len(gaps) < 2e-3, got


def adapter(home: Path) -> Path:
    (file,) = home.glob("runs/*/adapter/adapter_model.safetensors")
    return file


def checkpoint_files(home: Path) -> dict[str, dict[str, tuple[tuple[int, ...], torch.dtype]]]:
    """Shapes and types of all tensors of the newest checkpoint."""
    newest = max(home.glob("runs/*/checkpoints/step-*"))
    return {
        file.name: {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in load_file(file).items()}
        for file in newest.glob("*.safetensors")
    }


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_and_resume_what_one_does(
    strategy: str, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process goes on where two were stopped, and two where one was; two where two were, with the same bytes."""
    cases, common = (COPIES, {}) if strategy == "ddp" else (SHARDS, WHOLE)
    recipes = [write(tmp_path / name, tiny, rows, **train, **common) for name, (rows, train) in cases.items()]
    early = recipes[-1]
    rows, train = cases["stopped"]
    late = write(tmp_path / "late", tiny, rows, **train, **common)
    if strategy == "ddp":
        teacher = make_tiny_model(tmp_path / "teacher", seed=1)
        # Its metrics are means over a piece's tokens, so both cut the steps in the same way.
        distill = {"objective": {"name": "distill", "teacher": str(teacher)}, "accumulate": 2}
        recipes.append(write(tmp_path / "distill", tiny, SFT, **distill))
        recipes.append(policy_runs.write_recipe(tmp_path / "grpo", tiny, method={"name": "lora", "rank": 8}))
    rank_runs.train([*recipes, late], "one")
    stopped(late, "one", "several")
    train_on_two([*recipes, late], "several", monkeypatch)
    for recipe in (*recipes, late):
        assert_same(recipe, "several")
    stopped(early, "several", "back")
    rank_runs.train([early], "back")
    assert_same(early, "back")
    stopped(early, "several", "again")
    train_on_two([early], "again", monkeypatch)
    assert adapter(early.parent / "again").read_bytes() == adapter(early.parent / "several").read_bytes()
