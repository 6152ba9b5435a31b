"""Checkpoints are complete or absent, and the one to resume from is never deleted."""

from __future__ import annotations

from pathlib import Path

import torch

from tunesmith.models.method import ParameterGroup
from tunesmith.train import checkpoint
from tunesmith.train.checkpoint import Checkpoint, CheckpointState
from tunesmith.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors


def saved(folder: Path, step: int, digest: str = "run") -> None:
    tensor = torch.full((2,), float(step))
    state = CheckpointState(run_digest=digest, step=step)
    checkpoint.write(folder, Checkpoint(state=state, adapter={"a": tensor}, optimizer={"0.exp_avg": tensor}))


def steps(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    again = checkpoint.read(tmp_path, 3)
    assert again.state.step == 3
    assert again.adapter["a"].tolist() == [3.0, 3.0]
    assert list(again.optimizer) == ["0.exp_avg"]


def test_latest_ignores_other_runs_and_half_written_folders(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    saved(tmp_path, 9, digest="another")
    (tmp_path / "step-000012").mkdir()
    (tmp_path / ".step-000015.99").mkdir()
    assert checkpoint.latest(tmp_path, "run") == 3
    assert checkpoint.latest(tmp_path, "unknown") is None
    assert checkpoint.latest(tmp_path / "absent", "run") is None


def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        saved(tmp_path, step)
    (tmp_path / ".step-000010.1").mkdir()
    checkpoint.prune(tmp_path, keep=1, best_step=4)
    assert steps(tmp_path) == ["step-000004", "step-000008"]


def test_the_optimizer_goes_on_as_if_it_had_never_stopped() -> None:
    def model_and_optimizer() -> tuple[torch.nn.Parameter, torch.optim.AdamW]:
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        return parameter, make_optimizer([ParameterGroup([parameter])], 0.1, 0.01)

    def step(parameter: torch.nn.Parameter, optimizer: torch.optim.AdamW, value: float) -> None:
        parameter.grad = torch.tensor([value, value * value])
        optimizer.step()

    whole, whole_optimizer = model_and_optimizer()
    for value in (1.0, 2.0, 3.0):
        step(whole, whole_optimizer, value)
    first, first_optimizer = model_and_optimizer()
    step(first, first_optimizer, 1.0)
    second, second_optimizer = model_and_optimizer()
    second.data.copy_(first.data)
    load_optimizer_tensors(second_optimizer, optimizer_tensors(first_optimizer))
    for value in (2.0, 3.0):
        step(second, second_optimizer, value)
    assert torch.equal(second, whole)
