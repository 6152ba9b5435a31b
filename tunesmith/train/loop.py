"""The training loop: the same few lines for every method and objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.errors import Interrupted, TrainingFailed
from tunesmith.models.adapter import adapter_state
from tunesmith.models.device import device_of
from tunesmith.models.method import Method
from tunesmith.progress import Progress
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checkpoint import Checkpoint, CheckpointState
from tunesmith.train.due import owes_look, owes_validation
from tunesmith.train.epochs import EpochAdapters
from tunesmith.train.forward import score
from tunesmith.train.interruption import Interruption
from tunesmith.train.loop_options import LoopOptions
from tunesmith.train.memory import GiveBack, memory_of
from tunesmith.train.objective import Group, Objective, Scored, rows_of
from tunesmith.train.offenders import not_finite, offenders
from tunesmith.train.optimizer import clip_gradients, optimizer_tensors, set_rate
from tunesmith.train.parallel.team import Alone, Piece, Team
from tunesmith.train.plan import TrainingPlan, split_evenly
from tunesmith.train.reference import sequence_logprobs
from tunesmith.train.rollouts import Rollouts, require_a_grade, rollout_metrics
from tunesmith.train.schedule import learning_rate
from tunesmith.train.tracker import MetricSink
from tunesmith.train.trunk import Trunk
from tunesmith.train.watched import add_watched, watched
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import SplitName

__all__ = ["LoopOptions", "Training", "run_steps", "validate"]


@dataclass(frozen=True)
class Training:
    """Everything one run works with; the objects are mutated by training, the references never change.

    `name_row` gives a row's id and place in its source, from its split and its id.
    """

    options: LoopOptions
    model: Any
    optimizer: torch.optim.AdamW
    method: Method
    objective: Objective
    plan: TrainingPlan
    groups: Sequence[Group]
    validation: Sequence[Group]
    metrics: MetricSink
    checkpoints: Path
    trunk: Trunk | None = None
    name_row: Callable[[SplitName, str], str] = "{} row {}".format
    rollouts: Rollouts | None = None
    interruption: Interruption = field(default_factory=Interruption)
    team: Team = field(default_factory=Alone)
    give_back: GiveBack = field(default_factory=GiveBack)
    epochs: EpochAdapters | None = None

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The trained parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def complete(self, groups: Sequence[Group], step: int | None) -> Sequence[Group]:
        """The groups of one whole step (None: of validation), sampled where the objective learns from rewards, with
        what it must know over all of them.
        """
        if self.rollouts is not None:
            draw, model = self.rollouts, self.model
            drawn = self.team.spread(
                groups, lambda own: draw.validated(model, own) if step is None else draw.sampled(model, own, step)
            )
            groups = require_a_grade(drawn)
        return self.known(groups)

    def known(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The groups of one whole step with what the objective must know over all of them."""

        def logprobs(rows: Sequence[Rendered]) -> list[float]:
            # No more rows at a time than a piece of the step has.
            pieces = split_evenly(rows, self.options.accumulate)
            said = (sequence_logprobs(self.model, piece, self.options.batching, self.trunk) for piece in pieces)
            return [value for piece in said for value in piece.tolist()]

        return self.objective.complete(groups, lambda rows: torch.tensor(self.team.spread(rows, logprobs)))

    def pieces(self, groups: Sequence[Group]) -> Iterator[Piece]:
        """What this process computes of a step's groups, piece by piece."""
        return self.team.pieces(groups, self.options.accumulate)

    def score(self, groups: Sequence[Group]) -> Scored:
        """What the model says of the sequences of `groups`."""
        return score(self.model, rows_of(groups), self.options.batching, self.trunk, self.objective.needs)


def run_steps(training: Training, state: CheckpointState, progress: Progress) -> CheckpointState:
    """Train from `state` to the end of the plan (or an early stop), with validation at every epoch's end.

    Raises:
        TrainingFailed: a loss or gradient is not finite; names the rows.
        Interrupted: the process was asked to stop; what was done so far is saved.
    """
    plan, saved = training.plan, state
    try:
        if state.start_validation_loss is None and training.validation:
            with training.interruption.undisturbed():
                start = validate(training)
                state = state.model_copy(update={"start_validation_loss": start["loss"]})
                _log_validation(training, 0, start)
        with progress.task("training", plan.steps, "step") as task:
            task.advance(state.step)
            while True:
                if owed := owes_validation(plan, state):
                    with training.interruption.undisturbed():
                        state = _after_epoch(training, state)
                        _keep_epoch(training, state.step)
                elif owes_look(training.options.validate_every, state):
                    with training.interruption.undisturbed():
                        _log_validation(training, state.step, validate(training))
                        state = state.model_copy(update={"validated_step": state.step})
                due = owed or state.step % training.options.checkpoint_every == 0
                if due and state.step > 0 and state != saved:
                    saved = _save(training, state)
                if state.step >= plan.steps or state.stopped_early:
                    return state
                with training.interruption.undisturbed():
                    state, values = _counted_step(training, state)
                task.advance(1, loss=values["loss"], tokens_per_second=values["tokens_per_second"])
    except Interrupted as stop:
        if state.step > 0 and state != saved:
            _save(training, state)
        where = f"after step {state.step} of {plan.steps}"
        note = f"{where}; a checkpoint is saved" if state.step else "before the first step was done"
        raise Interrupted(stop.number, note) from None


def validate(training: Training) -> dict[str, float]:
    """The objective's own loss (`loss`) and metrics over all validation groups, without dropout.

    For objectives that learn from rewards the loss is the negative mean reward of greedy answers.
    Raises TrainingFailed when the loss is not finite; names the rows.
    """
    groups, objective = training.validation, training.objective
    total = objective.amount(groups)
    found = {"loss": 0.0}
    complete: list[Group] = []
    training.model.eval()
    training.team.at("validation")
    with torch.no_grad():
        for start in range(0, len(groups), training.options.batch_size):
            with training.interruption.breakable():
                step = training.complete(groups[start : start + training.options.batch_size], None)
            complete += step
            for piece, counts in training.pieces(step):
                with training.interruption.breakable():
                    scored = training.score(piece)
                if counts:
                    found["loss"] += float(objective.loss(scored, piece, total))
                    add_watched(found, objective, scored, piece, len(groups))
        found = watched(training.team.totals(found))
        if not np.isfinite(found["loss"]):
            raise _broken(training, "validation", f"Validation loss {found['loss']}", groups)
    training.model.train()
    found |= rollout_metrics(complete)
    return found | {"loss": 0.0 - found["reward"]} if training.rollouts else found


def _counted_step(training: Training, state: CheckpointState) -> tuple[CheckpointState, dict[str, float]]:
    """The state after one more step, and the step's metrics, which are logged."""
    began, worked = time.perf_counter(), time.process_time()
    values, effective, computed = _step(training, state.step)
    training.give_back()
    seconds = time.perf_counter() - began
    done = {
        "step": state.step + 1,
        "seconds": state.seconds + seconds,
        "processor_seconds": state.processor_seconds + time.process_time() - worked,
        "effective_tokens": state.effective_tokens + effective,
        "computed_tokens": state.computed_tokens + computed,
    }
    values |= {"tokens_per_second": effective / seconds, "computed_tokens_per_second": computed / seconds}
    training.metrics.log(state.step + 1, {**values, "peak_bytes": memory_of(device_of(training.model)).peak()})
    return state.model_copy(update=done), values


def _step(training: Training, step: int) -> tuple[dict[str, float], int, int]:
    """One optimizer step: (metrics, effective tokens, computed tokens)."""
    options, plan = training.options, training.plan
    training.team.at(f"step {step + 1}")
    torch.manual_seed(int(np.random.SeedSequence((options.seed, step, *training.team.seed)).generate_state(1)[0]))
    with training.interruption.breakable():
        groups = training.complete([training.groups[index] for index in plan.indices(step)], step)
    total = training.objective.amount(groups)
    sums = {"loss": 0.0, "computed_tokens": 0.0}
    training.optimizer.zero_grad(set_to_none=True)
    for piece, counts in training.pieces(groups):
        with training.interruption.breakable():
            scored = training.score(piece)
            loss = training.objective.loss(scored, piece, total)
            (loss if counts else loss * 0.0).backward()
        if counts:
            sums["loss"] += loss.item()
            sums["computed_tokens"] += scored.computed_tokens
            add_watched(sums, training.objective, scored, piece, len(groups))
    training.team.sum_gradients(training.parameters)
    sums = watched(training.team.totals(sums))
    loss_sum, computed = sums.pop("loss"), int(sums.pop("computed_tokens"))
    penalty = training.method.penalty(training.model)
    if penalty is not None:
        penalty.backward()
    norm = clip_gradients(training.parameters, options.max_grad_norm)
    if not np.isfinite(loss_sum) or not np.isfinite(norm):
        what = f"Step {step + 1}: loss {loss_sum}, gradient norm {norm}"
        raise _broken(training, "train", what, groups)
    rate = learning_rate(step, plan.steps, options.learning_rate, options.schedule, options.warmup_ratio)
    set_rate(training.optimizer, rate)
    training.optimizer.step()
    training.method.after_step(training.model, step + 1, plan.steps)
    effective = sum(len(row.token_ids) - row.virtual_tokens for row in rows_of(groups))
    values = {
        "epoch": (step + 1) / plan.steps_per_epoch,
        "loss": loss_sum,
        "learning_rate": rate,
        "gradient_norm": norm,
        **sums,
        **rollout_metrics(groups),
    }
    if penalty is not None:
        values["penalty"] = penalty.item()
    return values, effective, computed


def _broken(training: Training, split: SplitName, what: str, groups: Sequence[Group]) -> TrainingFailed:
    """The error for numbers that are not finite, with the rows of `split` among `groups` that cause them."""

    def loss_of(group: Group) -> torch.Tensor:
        alone = training.known([group])
        return training.objective.loss(training.score(alone), alone, training.objective.amount(alone))

    found = offenders(groups, loss_of, training.parameters)
    return not_finite(what, [training.name_row(split, group.id) for group in found], training.parameters)


def _after_epoch(training: Training, state: CheckpointState) -> CheckpointState:
    """Validate, remember the best epoch, decide on an early stop; without validation rows the last epoch is best."""
    patience = training.options.patience
    state = state.model_copy(update={"validated_step": state.step})
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


def _keep_epoch(training: Training, step: int) -> None:
    """The adapter of the epoch that ends with `step`, where the last ones are kept."""
    if training.epochs is not None and training.epochs.wants(step):
        training.epochs.write(step, training.model, training.team.whole, training.team.leads)


def _log_validation(training: Training, step: int, found: Mapping[str, float]) -> None:
    training.metrics.log(step, {f"validation_{name}": value for name, value in found.items()})


def _save(training: Training, state: CheckpointState) -> CheckpointState:
    """Write the checkpoint of `state`, which is returned."""
    with training.interruption.undisturbed():
        training.team.at(f"the checkpoint of step {state.step}")
        content = Checkpoint(
            state=state,
            adapter=training.team.whole(adapter_state(training.model)),
            optimizer=training.team.whole(optimizer_tensors(training.optimizer)),
            method=training.method.extra_state(training.model),
        )
        if training.team.leads:
            checkpoints.write(training.checkpoints, content)
            checkpoints.prune(training.checkpoints, training.options.keep_checkpoints, state)
    return state
