"""The training loop: the same few lines for every method and objective."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tunesmith.errors import TrainingFailed
from tunesmith.models.adapter import adapter_state
from tunesmith.progress import Progress
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checkpoint import Checkpoint, CheckpointState
from tunesmith.train.forward import Batching, score
from tunesmith.train.memory import peak_bytes
from tunesmith.train.metrics import MetricsLog
from tunesmith.train.objective import Objective
from tunesmith.train.optimizer import clip_gradients, optimizer_tensors
from tunesmith.train.plan import TrainingPlan, split_evenly
from tunesmith.train.schedule import Schedule, learning_rate
from tunesmith.train.trunk import Trunk
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import TrainSpec

__all__ = ["LoopOptions", "Training", "run_steps", "validation_loss"]


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
    objective: Objective
    plan: TrainingPlan
    rows: Sequence[Rendered]
    validation: Sequence[Rendered]
    metrics: MetricsLog
    checkpoints: Path
    trunk: Trunk | None = None

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The trained parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def run_steps(training: Training, state: CheckpointState, progress: Progress) -> CheckpointState:
    """Train from `state` to the end of the plan (or an early stop), with validation at every epoch's end.

    Raises TrainingFailed at the first loss or gradient that is not finite.
    """
    options, plan = training.options, training.plan
    if state.start_validation_loss is None and training.validation:
        start = validation_loss(training)
        state = state.model_copy(update={"start_validation_loss": start})
        training.metrics.log(0, {"validation_loss": start})
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


def validation_loss(training: Training) -> float:
    """Mean negative log-likelihood per trained token over the validation rows."""
    total = weight = 0.0
    training.model.eval()
    size = max(1, training.options.batch_size // training.options.accumulate)
    with torch.no_grad():
        for start in range(0, len(training.validation), size):
            rows = training.validation[start : start + size]
            scored = score(training.model, rows, training.options.batching, training.trunk)
            total -= float((scored.logprobs * scored.weights).sum())
            weight += float(scored.weights.sum())
    training.model.train()
    return total / weight


def _step(training: Training, step: int) -> tuple[dict[str, float], int, int]:
    """One optimizer step: (metrics, effective tokens, computed tokens)."""
    options, plan = training.options, training.plan
    torch.manual_seed(int(np.random.SeedSequence((options.seed, step)).generate_state(1)[0]))
    rows = [training.rows[index] for index in plan.indices(step)]
    total = sum(sum(row.loss_weights) for row in rows)
    loss_sum, computed = 0.0, 0
    training.optimizer.zero_grad(set_to_none=True)
    for piece in split_evenly(rows, options.accumulate):
        scored = score(training.model, piece, options.batching, training.trunk)
        loss = training.objective.loss(scored, total)
        loss.backward()
        loss_sum += loss.item()
        computed += scored.computed_tokens
    norm = clip_gradients(training.parameters, options.max_grad_norm)
    if not np.isfinite(loss_sum) or not np.isfinite(norm):
        raise TrainingFailed(
            f"Step {step + 1}: loss {loss_sum}, gradient norm {norm}. Training cannot go on from such numbers.",
            hint="Lower train.learning_rate, or set train.precision: float32. The last checkpoint is kept.",
        )
    rate = learning_rate(step, plan.steps, options.learning_rate, options.schedule, options.warmup_ratio)
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    training.optimizer.step()
    effective = sum(len(row.token_ids) for row in rows)
    values = {
        "epoch": (step + 1) / plan.steps_per_epoch,
        "loss": loss_sum,
        "learning_rate": rate,
        "gradient_norm": norm,
    }
    return values, effective, computed


def _after_epoch(training: Training, state: CheckpointState) -> CheckpointState:
    """Validate, remember the best epoch, decide on an early stop; without validation rows the last epoch is best."""
    patience = training.options.patience
    if not training.validation:
        return state.model_copy(update={"best_step": state.step})
    loss = validation_loss(training)
    training.metrics.log(state.step, {"validation_loss": loss})
    if state.best_validation_loss is None or loss < state.best_validation_loss:
        return state.model_copy(
            update={"best_step": state.step, "best_validation_loss": loss, "epochs_without_gain": 0}
        )
    waited = state.epochs_without_gain + 1
    return state.model_copy(
        update={"epochs_without_gain": waited, "stopped_early": patience > 0 and waited >= patience}
    )


def _save(training: Training, state: CheckpointState) -> None:
    content = Checkpoint(
        state=state, adapter=adapter_state(training.model), optimizer=optimizer_tensors(training.optimizer)
    )
    checkpoints.write(training.checkpoints, content)
    checkpoints.prune(training.checkpoints, training.options.keep_checkpoints, state.best_step)
