"""The training loop: the same few lines for every method and objective."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tunesmith.errors import TrainingFailed
from tunesmith.models.adapter import adapter_state
from tunesmith.models.method import Method
from tunesmith.progress import Progress
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checkpoint import Checkpoint, CheckpointState
from tunesmith.train.forward import Batching, score
from tunesmith.train.memory import peak_bytes
from tunesmith.train.metrics import MetricsLog
from tunesmith.train.objective import Group, Objective, Scored, rows_of
from tunesmith.train.optimizer import clip_gradients, optimizer_tensors, set_rate
from tunesmith.train.plan import TrainingPlan, split_evenly
from tunesmith.train.reference import sequence_logprobs
from tunesmith.train.schedule import Schedule, learning_rate
from tunesmith.train.trunk import Trunk
from tunesmith.types.recipe import TrainSpec

__all__ = ["LoopOptions", "Training", "run_steps", "validate"]


class LoopOptions(NamedTuple):
    """What the loop takes from `TrainSpec`, under the same names and with the same meaning, and the settled
    `accumulate`.
    """

    batching: Batching
    batch_size: int
    accumulate: int
    learning_rate: float
    schedule: Schedule
    warmup_ratio: float
    max_grad_norm: float
    seed: int
    checkpoint_every: int
    keep_checkpoints: int
    patience: int

    @classmethod
    def of(cls, spec: TrainSpec, accumulate: int) -> LoopOptions:
        """The options of `spec`."""
        names = [name for name in cls._fields if name != "accumulate"]
        return cls(accumulate=accumulate, **{name: getattr(spec, name) for name in names})


@dataclass(frozen=True)
class Training:
    """Everything one run works with; the objects are mutated by training, the references never change."""

    options: LoopOptions
    model: Any
    optimizer: torch.optim.AdamW
    method: Method
    objective: Objective
    plan: TrainingPlan
    groups: Sequence[Group]
    validation: Sequence[Group]
    metrics: MetricsLog
    checkpoints: Path
    trunk: Trunk | None = None

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The trained parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def complete(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The groups of one whole step with what the objective must know over all of them."""
        return self.objective.complete(
            groups, lambda rows: sequence_logprobs(self.model, rows, self.options.batching, self.trunk)
        )

    def score(self, groups: Sequence[Group]) -> Scored:
        """What the model says of the sequences of `groups`."""
        return score(self.model, rows_of(groups), self.options.batching, self.trunk)


def run_steps(training: Training, state: CheckpointState, progress: Progress) -> CheckpointState:
    """Train from `state` to the end of the plan (or an early stop), with validation at every epoch's end.

    Raises TrainingFailed at the first loss or gradient that is not finite.
    """
    options, plan = training.options, training.plan
    if state.start_validation_loss is None and training.validation:
        start = validate(training)
        state = state.model_copy(update={"start_validation_loss": start["loss"]})
        _log_validation(training, 0, start)
    with progress.task("training", plan.steps, "step") as task:
        task.advance(state.step)
        while state.step < plan.steps and not state.stopped_early:
            began = time.perf_counter()
            values, effective, computed = _step(training, state.step)
            seconds = time.perf_counter() - began
            state = state.model_copy(
                update={
                    "step": state.step + 1,
                    "seconds": state.seconds + seconds,
                    "effective_tokens": state.effective_tokens + effective,
                    "computed_tokens": state.computed_tokens + computed,
                }
            )
            speed = {"tokens_per_second": effective / seconds, "computed_tokens_per_second": computed / seconds}
            training.metrics.log(state.step, {**values, **speed, "peak_bytes": peak_bytes()})
            task.advance(1, loss=values["loss"], tokens_per_second=speed["tokens_per_second"])
            ends_epoch = plan.ends_epoch(state.step - 1)
            if ends_epoch:
                state = _after_epoch(training, state)
            if state.step % options.checkpoint_every == 0 or ends_epoch:
                _save(training, state)
    return state


def validate(training: Training) -> dict[str, float]:
    """The objective's own loss (`loss`) and metrics over all validation groups, without dropout."""
    groups, objective = training.validation, training.objective
    total = objective.amount(groups)
    found = {"loss": 0.0}
    training.model.eval()
    with torch.no_grad():
        for start in range(0, len(groups), training.options.batch_size):
            step = training.complete(groups[start : start + training.options.batch_size])
            for piece in split_evenly(step, training.options.accumulate):
                scored = training.score(piece)
                found["loss"] += float(objective.loss(scored, piece, total))
                _add_means(found, objective.metrics(scored, piece), len(piece) / len(groups))
    training.model.train()
    return found


def _add_means(means: dict[str, float], values: Mapping[str, float], share: float) -> None:
    for name, value in values.items():
        means[name] = means.get(name, 0.0) + share * value


def _step(training: Training, step: int) -> tuple[dict[str, float], int, int]:
    """One optimizer step: (metrics, effective tokens, computed tokens)."""
    options, plan = training.options, training.plan
    torch.manual_seed(int(np.random.SeedSequence((options.seed, step)).generate_state(1)[0]))
    groups = training.complete([training.groups[index] for index in plan.indices(step)])
    total = training.objective.amount(groups)
    loss_sum, computed = 0.0, 0
    metrics: dict[str, float] = {}
    training.optimizer.zero_grad(set_to_none=True)
    for piece in split_evenly(groups, options.accumulate):
        scored = training.score(piece)
        loss = training.objective.loss(scored, piece, total)
        loss.backward()
        loss_sum += loss.item()
        computed += scored.computed_tokens
        _add_means(metrics, training.objective.metrics(scored, piece), len(piece) / len(groups))
    penalty = training.method.penalty(training.model)
    if penalty is not None:
        penalty.backward()
    norm = clip_gradients(training.parameters, options.max_grad_norm)
    if not np.isfinite(loss_sum) or not np.isfinite(norm):
        raise TrainingFailed(
            f"Step {step + 1}: loss {loss_sum}, gradient norm {norm}. Training cannot go on from such numbers.",
            hint="Lower train.learning_rate, or set train.precision: float32. The last checkpoint is kept.",
        )
    rate = learning_rate(step, plan.steps, options.learning_rate, options.schedule, options.warmup_ratio)
    set_rate(training.optimizer, rate)
    training.optimizer.step()
    training.method.after_step(training.model, step + 1, plan.steps)
    effective = sum(len(row.token_ids) for row in rows_of(groups))
    values = {
        "epoch": (step + 1) / plan.steps_per_epoch,
        "loss": loss_sum,
        "learning_rate": rate,
        "gradient_norm": norm,
        **metrics,
    }
    if penalty is not None:
        values["penalty"] = penalty.item()
    return values, effective, computed


def _after_epoch(training: Training, state: CheckpointState) -> CheckpointState:
    """Validate, remember the best epoch, decide on an early stop; without validation rows the last epoch is best."""
    patience = training.options.patience
    if not training.validation:
        return state.model_copy(update={"best_step": state.step})
    found = validate(training)
    loss = found["loss"]
    _log_validation(training, state.step, found)
    if state.best_validation_loss is None or loss < state.best_validation_loss:
        return state.model_copy(
            update={"best_step": state.step, "best_validation_loss": loss, "epochs_without_gain": 0}
        )
    waited = state.epochs_without_gain + 1
    return state.model_copy(
        update={"epochs_without_gain": waited, "stopped_early": patience > 0 and waited >= patience}
    )


def _log_validation(training: Training, step: int, found: Mapping[str, float]) -> None:
    training.metrics.log(step, {f"validation_{name}": value for name, value in found.items()})


def _save(training: Training, state: CheckpointState) -> None:
    content = Checkpoint(
        state=state,
        adapter=adapter_state(training.model),
        optimizer=optimizer_tensors(training.optimizer),
        method=training.method.extra_state(training.model),
    )
    checkpoints.write(training.checkpoints, content)
    checkpoints.prune(training.checkpoints, training.options.keep_checkpoints, state.best_step)
