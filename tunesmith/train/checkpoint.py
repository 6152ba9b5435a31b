"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder `step-000040` with the adapter, the optimizer and a small state file. It is written under a
temporary
name, synced to disk and renamed, so that a folder with the right name is always complete. Randomness needs no
state: each step seeds it from (seed, step).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tunesmith.types.base import Value

__all__ = ["Checkpoint", "CheckpointState", "latest", "prune", "read", "write"]

ADAPTER, OPTIMIZER, METHOD, STATE = (
    "adapter.safetensors",
    "optimizer.safetensors",
    "method.safetensors",
    "state.json",
)

Tensors = dict[str, torch.Tensor]


class CheckpointState(Value):
    """The small part. `step` steps are done; `best_*` is None before the first validation."""

    run_digest: str
    step: int
    start_validation_loss: float | None = None
    best_step: int | None = None
    best_validation_loss: float | None = None
    epochs_without_gain: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    effective_tokens: int = 0
    computed_tokens: int = 0


class Checkpoint(Value, arbitrary_types_allowed=True):
    """Adapter tensors by name, optimizer tensors by `<parameter index>.<name>`, what the method needs besides, and the
    state.
    """

    state: CheckpointState
    adapter: Tensors
    optimizer: Tensors
    method: Tensors = {}


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` under `folder`; the step's folder appears only when it is complete on disk."""
    target = folder / f"step-{checkpoint.state.step:06d}"
    temporary = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(checkpoint.adapter, temporary / ADAPTER)
    save_file(checkpoint.optimizer, temporary / OPTIMIZER)
    save_file(checkpoint.method, temporary / METHOD)
    (temporary / STATE).write_text(checkpoint.state.model_dump_json(indent=2))
    for file in temporary.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    _sync(folder)
    return target


def read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of `step` under `folder`."""
    place = folder / f"step-{step:06d}"
    return Checkpoint(
        state=CheckpointState.model_validate_json((place / STATE).read_text()),
        adapter=load_file(place / ADAPTER),
        optimizer=load_file(place / OPTIMIZER),
        method=load_file(place / METHOD),
    )


def latest(folder: Path, run_digest: str) -> int | None:
    """Step of the newest complete checkpoint of this very run, or None."""
    for step in reversed(_steps(folder)):
        state = CheckpointState.model_validate_json((folder / f"step-{step:06d}" / STATE).read_text())
        if state.run_digest == run_digest:
            return step
    return None


def prune(folder: Path, keep: int, best_step: int | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best one; the one to resume from is always among them."""
    for step in _steps(folder)[:-keep]:
        if step != best_step:
            shutil.rmtree(folder / f"step-{step:06d}")
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _steps(folder: Path) -> list[int]:
    return sorted(int(place.name.removeprefix("step-")) for place in folder.glob("step-*") if (place / STATE).is_file())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
