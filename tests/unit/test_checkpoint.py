"""Checkpoints are complete or absent, and the one to resume from is never deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tunesmith.errors import TrainingFailed
from tunesmith.models.method import ParameterGroup
from tunesmith.progress import Silent
from tunesmith.train import checkpoint
from tunesmith.train.checkpoint import Checkpoint, CheckpointState
from tunesmith.train.disk import plain_disk_errors
from tunesmith.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def saved(folder: Path, step: int, digest: str = "run", best_step: int | None = None, size: int = 2) -> None:
    tensor = torch.full((size,), float(step))
    state = CheckpointState(run_digest=digest, step=step, best_step=best_step)
    checkpoint.write(folder, Checkpoint(state=state, adapter={"a": tensor}, optimizer={"0.exp_avg": tensor}))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_a_number(file: Path) -> None:
    """The result is still a state file, and still valid JSON."""
    file.write_text(file.read_text().replace('"effective_tokens": 0', '"effective_tokens": 1'))


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
    assert checkpoint.latest(tmp_path, "run", Silent()) == 3
    assert checkpoint.latest(tmp_path, "unknown", Silent()) is None
    assert checkpoint.latest(tmp_path / "absent", "run", Silent()) is None


@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        ("adapter.safetensors", truncate, "adapter.safetensors was cut off or changed"),
        ("adapter.safetensors", flip_a_bit, "adapter.safetensors was cut off or changed"),
        ("optimizer.safetensors", flip_a_bit, "optimizer.safetensors was cut off or changed"),
        ("optimizer.safetensors", Path.unlink, "optimizer.safetensors is missing"),
        ("state.json", truncate, "state.json cannot be read"),
        ("state.json", change_a_number, "state.json was changed"),
        ("state.json", Path.unlink, "state.json is missing"),
    ],
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path: Path, name: str, damage, what: str) -> None:
    saved(tmp_path, 3)
    saved(tmp_path, 6)
    damage(tmp_path / "step-000006" / name)
    heard = Heard()
    assert checkpoint.latest(tmp_path, "run", heard) == 3
    assert heard.said == [f"warning: the checkpoint of step 6 is skipped: {what}"]
    with pytest.raises(TrainingFailed, match=what):
        checkpoint.read(tmp_path, 6)


def test_a_checkpoint_whose_best_one_is_damaged_is_skipped_too(tmp_path: Path) -> None:
    saved(tmp_path, 3, best_step=3)
    saved(tmp_path, 6, best_step=6)
    saved(tmp_path, 9, best_step=6)
    truncate(tmp_path / "step-000006" / "adapter.safetensors")
    heard = Heard()
    assert checkpoint.latest(tmp_path, "run", heard) == 3
    assert [line.split(" is skipped: ")[0][-1] for line in heard.said] == ["9", "6"]
    assert "its best checkpoint, of step 6, adapter.safetensors was cut off" in heard.said[0]


def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        saved(tmp_path, step)
    (tmp_path / ".step-000010.1").mkdir()
    checkpoint.prune(tmp_path, 1, CheckpointState(run_digest="run", step=8, best_step=4))
    assert steps(tmp_path) == ["step-000004", "step-000008"]


def test_prune_after_damage_keeps_the_one_to_resume_from_not_the_damaged_ones(tmp_path: Path) -> None:
    for step in (2, 6, 8):
        saved(tmp_path, step)
    for step in (6, 8):
        truncate(tmp_path / f"step-{step:06d}" / "adapter.safetensors")
    resumed = checkpoint.latest(tmp_path, "run", Silent())
    assert resumed == 2
    saved(tmp_path, 4)
    checkpoint.prune(tmp_path, 1, CheckpointState(run_digest="run", step=4, best_step=2))
    assert steps(tmp_path) == ["step-000002", "step-000004"]


FULL_DISK = """
import sys, resource
from pathlib import Path
from tests.unit.test_checkpoint import saved, steps
from tunesmith.errors import TrainingFailed
from tunesmith.train.disk import plain_disk_errors
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with plain_disk_errors(folder):
        saved(folder, 6, size=200_000)
except TrainingFailed as error:
    print(error)
"""


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A real file system of 1 MB at `place`, where this process may mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this process may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def write_too_much(folder: Path, limit: int) -> str:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-c", FULL_DISK, str(folder), str(limit)]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder):
        saved(folder, 3)
        assert "No space left on device" in write_too_much(folder, 0)
        assert steps(folder) == ["step-000003"]
        assert checkpoint.read(folder, 3).adapter["a"].tolist() == [3.0, 3.0]


def test_a_limit_on_file_size_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    said = write_too_much(tmp_path, 100_000)
    assert "File too large" in said
    assert "give the same command again: it resumes" in said
    assert steps(tmp_path) == ["step-000003"]
    assert checkpoint.latest(tmp_path, "run", Silent()) == 3


def test_other_disk_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), plain_disk_errors(tmp_path):
        (tmp_path / "absent").read_text()


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
