"""The train stage: a prepared dataset and a base model in, a proven adapter in a run directory out."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith import plugins
from tunesmith.models.adapter import AdapterIdentity, adapter_state, load_adapter_state, save_adapter
from tunesmith.models.method import Method
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, load_base, resolve_precision
from tunesmith.progress import Progress
from tunesmith.store.datasets import StoredDataset
from tunesmith.train import attention, learned, memory, selfchecks
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checkpoint import CheckpointState
from tunesmith.train.forward import attention_for
from tunesmith.train.loop import Training, run_steps
from tunesmith.train.memory import MemoryPlan
from tunesmith.train.metrics import MetricsLog
from tunesmith.train.objective import Objective
from tunesmith.train.optimizer import load_optimizer_tensors, make_optimizer
from tunesmith.train.plan import TrainingPlan, split_evenly
from tunesmith.train.tracker import Tracker
from tunesmith.train.tree import fold
from tunesmith.train.trunk import Trunk, first_trained_layer, trunk_bytes
from tunesmith.types.base import digest_json
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import Check
from tunesmith.types.recipe import PluginSpec, TrainSpec
from tunesmith.types.run import RunRecord

__all__ = ["RUN_FILE", "TrainingInput", "finished_run", "run_folder", "train"]

RUN_FILE = "run.json"
CHECKS_FILE = "checks.json"
TRAIN_VERSION = 1


class TrainingInput(NamedTuple):
    """What is trained on what, and where the result goes."""

    name: str
    base: BaseFiles
    dataset: StoredDataset
    home: Path


def run_folder(spec: TrainSpec, given: TrainingInput) -> tuple[Path, str]:
    """(run directory, run digest): the same input and options always lead to the same directory."""
    digest = digest_json(
        [
            TRAIN_VERSION,
            given.base.digest,
            given.dataset.manifest.digest,
            spec.model_dump(mode="json"),
            resolve_precision(spec.precision),
        ]
    )
    return given.home / "runs" / f"{given.name}-{digest[:12]}", digest


def finished_run(folder: Path) -> RunRecord | None:
    """The record of the run in `folder`, or None while it has not succeeded."""
    file = folder / RUN_FILE
    return RunRecord.model_validate_json(file.read_text()) if file.is_file() else None


def train(spec: TrainSpec, given: TrainingInput, progress: Progress) -> RunRecord:
    """Train, or resume, or reuse the finished run of the very same input.

    Raises:
        TrainingFailed: a self-check failed, a number was not finite, or nothing was learned.
        ModelError: the base, the method and the recipe do not fit together.
    """
    folder, digest = run_folder(spec, given)
    finished = finished_run(folder)
    if finished:
        progress.say(f"reusing the finished run {folder.name}")
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(_environment(), indent=2))
    renderer = Renderer(given.base.path)
    rows = _render(renderer, given.dataset, "train")
    validation = _render(renderer, given.dataset, "validation")
    precision = resolve_precision(spec.precision)
    attention.register()
    objective = _plugin("tunesmith.train.objectives", spec.objective, Objective)
    method = _plugin("tunesmith.models.methods", spec.method, Method)
    progress.say(f"loading {given.base.name} in {precision}")
    model = load_base(given.base.path, precision, attention=attention_for(spec.batching))
    model = method.wrap(model, spec.seed).train()
    plan = TrainingPlan(len(rows), spec.batch_size, spec.epochs, spec.seed)
    fresh = adapter_state(model)
    fresh = {name: tensor.clone() for name, tensor in fresh.items()}
    first = [rows[index] for index in plan.indices(0)]
    progress.say("self-checks before the first step")
    checks = selfchecks.before_first_step(model, first, objective, spec.batching, precision)
    selfchecks.require(checks)
    trunk = _trunk(model, [*rows, *validation], spec.batching, progress)
    if trunk:
        checks = (*checks, selfchecks.trunk_check(model, trunk, first, precision))
        selfchecks.require(checks)
    room = _plan_memory(spec, model, rows, objective, plan, trunk)
    progress.say(str(room))
    memory.reset_peak()
    with ExitStack() as stack:
        resume = checkpoints.latest(folder / "checkpoints", digest) or 0
        trackers = [_plugin("tunesmith.train.trackers", choice, Tracker) for choice in spec.trackers]
        sinks = [stack.enter_context(tracker.open(folder)) for tracker in trackers]
        training = Training(
            spec=spec,
            accumulate=room.accumulate,
            model=model,
            optimizer=make_optimizer(
                [p for p in model.parameters() if p.requires_grad], spec.learning_rate, spec.weight_decay
            ),
            objective=objective,
            plan=plan,
            rows=rows,
            validation=validation,
            metrics=MetricsLog(folder, sinks, resume),
            checkpoints=folder / "checkpoints",
            trunk=trunk,
        )
        state = _restore(training, resume, digest, progress)
        state = run_steps(training, state, progress)
    return _finish(training, state, given, fresh, checks, room)


def _restore(training: Training, step: int, digest: str, progress: Progress) -> CheckpointState:
    if not step:
        return CheckpointState(run_digest=digest, step=0)
    saved = checkpoints.read(training.checkpoints, step)
    load_adapter_state(training.model, saved.adapter)
    load_optimizer_tensors(training.optimizer, saved.optimizer)
    progress.say(f"resuming after step {step} of {training.plan.steps}")
    return saved.state


def _finish(
    training: Training,
    state: CheckpointState,
    given: TrainingInput,
    fresh: dict[str, torch.Tensor],
    checks: Sequence[Check],
    room: MemoryPlan,
) -> RunRecord:
    """Save the best checkpoint's adapter, prove that the run learned, write the record."""
    spec, folder = training.spec, training.checkpoints.parent
    peak = memory.peak_bytes()
    best_step = state.best_step or state.step
    best = checkpoints.read(training.checkpoints, best_step).adapter
    load_adapter_state(training.model, best)
    training.model.eval()
    manifest = given.dataset.manifest
    identity = AdapterIdentity(
        base=given.base.name,
        base_digest=given.base.digest,
        template_digest=manifest.proof.template_digest,
        tokenizer_digest=manifest.proof.tokenizer_digest,
    )
    adapter_digest = save_adapter(training.model, best, identity, folder / "adapter")
    precision = resolve_precision(spec.precision)
    checks = (
        *checks,
        *learned.after_last_step(fresh, best, state.start_validation_loss, state.best_validation_loss),
        learned.reloads_the_same(training.model, given.base.path, folder / "adapter", training.rows[:2], precision),
    )
    (folder / CHECKS_FILE).write_text(json.dumps([check.model_dump() for check in checks], indent=2))
    selfchecks.require(checks)
    record = RunRecord(
        id=folder.name,
        name=given.name,
        path=str(folder),
        base=given.base.name,
        base_digest=given.base.digest,
        dataset_digest=manifest.digest,
        template_digest=identity.template_digest,
        adapter_digest=adapter_digest,
        precision=precision,
        steps=state.step,
        best_step=best_step,
        start_validation_loss=state.start_validation_loss,
        best_validation_loss=state.best_validation_loss,
        trainable_parameters=sum(p.numel() for p in training.parameters),
        total_parameters=sum(p.numel() for p in training.model.parameters()),
        effective_tokens=state.effective_tokens,
        computed_tokens=state.computed_tokens,
        seconds=state.seconds,
        predicted_peak_bytes=room.predicted_peak_bytes,
        actual_peak_bytes=peak,
        checks=checks,
    )
    temporary = folder / f".{RUN_FILE}"
    temporary.write_text(record.model_dump_json(indent=2))
    temporary.rename(folder / RUN_FILE)
    return record


def _trunk(model: Any, rows: Sequence[Rendered], batching: str, progress: Progress) -> Trunk | None:
    """The frozen lower layers' output for all rows, where there are such layers and a quarter of memory holds it."""
    if batching != "tree" or not first_trained_layer(model):
        return None
    size, limit = trunk_bytes(model, rows), memory.available_bytes() // 4
    if size > limit:
        progress.say(f"frozen layers are computed anew each step: keeping them would take {size / 2**30:.1f} GB")
        return None
    return Trunk(model, rows, progress)


def _plan_memory(
    spec: TrainSpec,
    model: Any,
    rows: Sequence[Rendered],
    objective: Objective,
    plan: TrainingPlan,
    trunk: Trunk | None,
) -> MemoryPlan:
    first = [rows[index] for index in plan.indices(0)]
    probe = selfchecks.probe_memory(model, first, objective, spec.batching, trunk)
    largest = {}
    pieces = spec.accumulate
    while pieces <= max(spec.accumulate, spec.batch_size):
        largest[pieces] = _largest_piece(rows, plan, pieces, spec.batching)
        pieces *= 2
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return memory.plan_memory(probe.resident, trainable, probe.bytes_per_token, largest, memory.available_bytes())


def _largest_piece(rows: Sequence[Rendered], plan: TrainingPlan, pieces: int, batching: str) -> int:
    """Computed tokens of the largest piece over the first epoch's steps."""
    largest = 0
    for step in range(plan.steps_per_epoch):
        chosen = [rows[index] for index in plan.indices(step)]
        for piece in split_evenly(chosen, pieces):
            longest = max(len(row.token_ids) for row in piece)
            largest = max(largest, fold(piece).size if batching == "tree" else longest * len(piece))
    return largest


def _render(renderer: Renderer, dataset: StoredDataset, split: Any) -> list[Rendered]:
    return [renderer.render(example.conversation) for example in dataset.examples(split)]


def _plugin(folder: str, choice: PluginSpec, kind: type[Any]) -> Any:
    plugin = plugins.load(folder, choice.name).model_validate(choice.options)
    if not isinstance(plugin, kind):
        raise TypeError(f"{folder}.{choice.name} is not a {kind.__name__}")
    return plugin


def _environment() -> dict[str, Any]:
    packages = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "tunesmith")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", ""),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in packages},
        "free_disk_bytes": shutil.disk_usage(Path.home()).free,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:
        return None
