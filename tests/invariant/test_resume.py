"""Kill a training process at a random step; the resumed run ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.invariant.runs import run
from tunesmith.errors import RecipeError, TrainingFailed
from tunesmith.testing.methods import train_briefly
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train.settled import only_process
from tunesmith.types.recipe import PluginSpec

ROOT = Path(__file__).parents[2]


def start(home: Path, base: Path, **changes: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "tests.invariant.runs", str(home), str(base), json.dumps(changes)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_steps(home: Path, process: subprocess.Popen[bytes], steps: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for file in home.glob("runs/*/metrics.jsonl"):
            if sum('"loss"' in line for line in file.read_text().splitlines()) >= steps:
                return
        if process.poll() is not None:
            pytest.fail(f"the process ended early: {process.stderr.read().decode() if process.stderr else ''}")
        time.sleep(0.01)
    pytest.fail("the run did not get that far")


def finish(home: Path, base: Path, **changes: Any) -> bytes:
    """The adapter's bytes of a run that nothing disturbs to its end, here and not in a process of its own."""
    return (Path(run(home, base, **changes).path) / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_killed_twice_at_random_steps_and_resumed_ends_with_the_same_bytes(tmp_path: Path, tiny: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed", tiny)
    for steps in sorted(random.Random().sample(range(1, 16), 2)):
        process = start(tmp_path / "killed", tiny)
        wait_for_steps(tmp_path / "killed", process, steps)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finish(tmp_path / "killed", tiny) == undisturbed
    (metrics,) = (tmp_path / "killed").glob("runs/*/metrics.jsonl")
    (expected,) = (tmp_path / "undisturbed").glob("runs/*/metrics.jsonl")
    assert losses(metrics) == losses(expected)


@pytest.mark.slow
def test_a_killed_distillation_ends_with_the_same_bytes(tmp_path: Path, tiny: Path) -> None:
    """From a larger teacher with an adapter of its own; the student is killed once, anywhere."""
    teacher = make_tiny_model(tmp_path / "teacher", seed=7, layers=3, hidden=48)
    train_briefly(teacher, tmp_path / "lesson", PluginSpec(name="lora"))
    objective = {"name": "distill", "teacher": str(teacher), "teacher_adapter": str(tmp_path / "lesson")}
    changes: dict[str, Any] = {"objective": objective | {"temperature": 2.0, "label_weight": 0.2}, "epochs": 2}
    undisturbed = finish(tmp_path / "undisturbed", tiny, **changes)
    process = start(tmp_path / "killed", tiny, **changes)
    wait_for_steps(tmp_path / "killed", process, random.Random().randrange(1, 10))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "killed").glob("runs/*/run.json"))
    assert finish(tmp_path / "killed", tiny, **changes) == undisturbed
    (metrics,) = (tmp_path / "killed").glob("runs/*/metrics.jsonl")
    (expected,) = (tmp_path / "undisturbed").glob("runs/*/metrics.jsonl")
    assert losses(metrics) == losses(expected)


def losses(file: Path) -> list[str]:
    """step, loss and validation loss of every line, without the timings."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [f"{line['step']} {line.get('loss')} {line.get('validation_loss')}" for line in lines]


def test_the_same_input_is_not_trained_twice(tmp_path: Path, tiny: Path) -> None:
    first = run(tmp_path, tiny, epochs=1)
    again = run(tmp_path, tiny, epochs=1)
    assert first == again
    assert first.best_validation_loss is not None
    assert first.start_validation_loss is not None
    assert first.best_validation_loss < first.start_validation_loss
    assert all(check.passed for check in first.checks)
    assert {check.name.split(":")[0] for check in first.checks} >= {"leak probe", "the fresh adapter is a no-op"}


@pytest.mark.parametrize(
    ("changes", "other"),
    [({"accumulate": 1}, {"accumulate": 4}), ({"batching": "tree"}, {"batching": "padded"})],
    ids=["accumulation", "batching"],
)
def test_the_trajectory_does_not_depend_on_how_a_step_is_computed(
    tmp_path: Path, tiny: Path, changes: dict[str, object], other: dict[str, object]
) -> None:
    plain = {"method": {"name": "lora", "rank": 4}, "epochs": 1}
    left = load_file(Path(run(tmp_path / "left", tiny, **plain, **changes).path) / "adapter/adapter_model.safetensors")
    right = load_file(Path(run(tmp_path / "right", tiny, **plain, **other).path) / "adapter/adapter_model.safetensors")
    differences = [float((left[name] - right[name]).norm() / left[name].norm().clamp(min=1e-9)) for name in left]
    # Pointwise and on average: Adam divides by the gradient's size, so rounding grows most where gradients vanish.
    assert max(differences) < 2e-2
    assert sum(differences) / len(differences) < 2e-3


def test_killed_after_the_last_step_the_run_only_finishes(tmp_path: Path, tiny: Path) -> None:
    first = run(tmp_path, tiny, epochs=1)
    (Path(first.path) / "run.json").unlink()
    again = run(tmp_path, tiny, epochs=1)
    assert (again.adapter_digest, again.steps) == (first.adapter_digest, first.steps)
    assert (again.accumulate, again.threads) == (first.accumulate, first.threads)


def test_without_validation_rows_the_last_epoch_counts_and_patience_is_refused(tmp_path: Path, tiny: Path) -> None:
    record = run(tmp_path, tiny, validation=0.0, epochs=2)
    assert record.best_step == record.steps
    assert record.best_validation_loss is None
    with pytest.raises(RecipeError, match=r"train\.patience: has no effect without validation rows"):
        run(tmp_path, tiny, validation=0.0, patience=1)


def test_two_processes_do_not_train_the_same_run(tmp_path: Path) -> None:
    refused = pytest.raises(TrainingFailed, match="being trained by another process")
    with only_process(tmp_path), refused, only_process(tmp_path):
        pytest.fail("the second process got in")
