"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder `step-000040` with the adapter, the optimizer and a small state file. It is written under a
temporary name, synced to disk and renamed, so that a folder with the right name is always complete. The state file
holds the digest of every other file and of itself: what was cut off or changed afterwards is noticed when it is
loaded, and the checkpoint before it is taken. Randomness needs no state: each step seeds it from (seed, step).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tunesmith.errors import TrainingFailed
from tunesmith.progress import Progress
from tunesmith.types.base import Value, digest_file, digest_json

__all__ = ["Checkpoint", "CheckpointState", "latest", "prune", "read", "write"]

ADAPTER, OPTIMIZER, METHOD, STATE = (
    "adapter.safetensors",
    "optimizer.safetensors",
    "method.safetensors",
    "state.json",
)

Tensors = dict[str, torch.Tensor]


class CheckpointState(Value):
    """The small part. `step` steps are done, the epochs up to `validated_step` are validated; `best_*` is None before
    the first validation.
    """

    run_digest: str
    step: int
    validated_step: int = 0
    start_validation_loss: float | None = None
    best_step: int | None = None
    best_validation_loss: float | None = None
    epochs_without_gain: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    processor_seconds: float = 0.0
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


class _Sealed(Value):
    """What the state file holds: the state, SHA-256 of the other files by name, SHA-256 of these two."""

    state: CheckpointState
    files: dict[str, str]
    seal: str

    @classmethod
    def over(cls, state: CheckpointState, folder: Path) -> _Sealed:
        """`state` sealed together with every file that lies in `folder`."""
        files = {file.name: digest_file(file) for file in sorted(folder.iterdir()) if file.name != STATE}
        return cls(state=state, files=files, seal=_seal(state, files))


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` under `folder`; the step's folder appears only when it is complete on disk.

    When that fails (a full disk, say) nothing of it remains and what was there before stays.
    """
    target = _place(folder, checkpoint.state.step)
    temporary = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(checkpoint.adapter, temporary / ADAPTER)
        save_file(checkpoint.optimizer, temporary / OPTIMIZER)
        save_file(checkpoint.method, temporary / METHOD)
        (temporary / STATE).write_text(_Sealed.over(checkpoint.state, temporary).model_dump_json(indent=2))
        for file in temporary.iterdir():
            _sync(file)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(folder)
    return target


def read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of `step` under `folder`. Raises TrainingFailed when it is missing, cut off or changed."""
    place = _place(folder, step)
    state, damage = _examine(place)
    if state is None or damage:
        raise TrainingFailed(
            f"The checkpoint {place} cannot be used: {damage}.",
            hint=f"Remove the folder {place}; the same command then trains from the checkpoint before it.",
        )
    adapter, optimizer, method = (load_file(place / name) for name in (ADAPTER, OPTIMIZER, METHOD))
    return Checkpoint(state=state, adapter=adapter, optimizer=optimizer, method=method)


def latest(folder: Path, run_digest: str, progress: Progress) -> int | None:
    """Step of the newest sound checkpoint of this very run, or None; every damaged one is announced.

    A checkpoint whose best checkpoint is damaged is of no use either: what is released in the end would be missing.
    """
    damages: dict[int, str] = {}
    for step in reversed(_steps(folder)):
        state, damage = _examine(_place(folder, step))
        if state is not None and state.run_digest != run_digest:
            continue
        if state is not None and not damage and state.best_step not in (None, step):
            damage = damages.get(state.best_step) or _examine(_place(folder, state.best_step))[1]
            damage = damage and f"its best checkpoint, of step {state.best_step}, {damage}"
        if not damage:
            return step
        damages[step] = damage
        progress.say(f"warning: the checkpoint of step {step} is skipped: {damage}")
    return None


def prune(folder: Path, keep: int, state: CheckpointState) -> None:
    """Delete all but the newest `keep` checkpoints and the best one, after `state` was written.

    The one to resume from is the one of `state`: later steps can only be left from checkpoints that were skipped as
    damaged, so they go first and never count among the newest.
    """
    steps = [step for step in _steps(folder) if step <= state.step]
    kept = {*steps[-keep:], state.step, state.best_step}
    for place in folder.glob("step-*"):
        if _step_of(place) not in kept:
            shutil.rmtree(place)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _examine(place: Path) -> tuple[CheckpointState | None, str]:
    """The state in `place` (None: unreadable) and what is wrong with the checkpoint ('': nothing)."""
    try:
        sealed = _Sealed.model_validate_json((place / STATE).read_bytes())
    except FileNotFoundError:
        return None, f"{STATE} is missing"
    except ValidationError:
        return None, f"{STATE} cannot be read"
    if sealed.seal != _seal(sealed.state, sealed.files):
        return None, f"{STATE} was changed"
    for name, digest in sealed.files.items():
        file = place / name
        if not file.is_file():
            return sealed.state, f"{name} is missing"
        if digest_file(file) != digest:
            return sealed.state, f"{name} was cut off or changed"
    return sealed.state, ""


def _seal(state: CheckpointState, files: dict[str, str]) -> str:
    return digest_json([state.model_dump(mode="json"), files])


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _steps(folder: Path) -> list[int]:
    return sorted(_step_of(place) for place in folder.glob("step-*"))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
