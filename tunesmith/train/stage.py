"""The train stage: a prepared dataset and a base model in, a proven adapter in a run directory out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError, TrainingFailed
from tunesmith.models.adapter import load_adapter_state
from tunesmith.models.device import describe, device_of
from tunesmith.models.method import Method
from tunesmith.models.new_tokens import new_token_ids, train_rows
from tunesmith.models.parameters import trainable_share
from tunesmith.models.score_head import add_score_head
from tunesmith.models.template import Renderer
from tunesmith.progress import Progress
from tunesmith.train import attention, selfchecks
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checkpoint import CheckpointState
from tunesmith.train.disk import plain_disk_errors
from tunesmith.train.environment import environment
from tunesmith.train.epochs import EPOCHS_FOLDER, EpochAdapters
from tunesmith.train.finish import (
    Prepared,
    TrainedState,
    TrainingInput,
    finish,
    finished_run,
    identity_of,
    owes_preferences,
    save,
    write_record,
)
from tunesmith.train.fit import fit
from tunesmith.train.forward import Batching
from tunesmith.train.groups import OBJECTIVES, behind, require_shape, require_validation
from tunesmith.train.identities import identity_checks
from tunesmith.train.loop import LoopOptions, Training, run_steps
from tunesmith.train.memory import Memory, PeakWatch, memory_of, short_collections
from tunesmith.train.metrics import MetricsLog, Unlogged
from tunesmith.train.objective import Group, Objective, rows_of
from tunesmith.train.optimizer import load_optimizer_tensors, make_optimizer
from tunesmith.train.parallel.team import Alone, Team
from tunesmith.train.parent import said_by, wrapped
from tunesmith.train.placement import Placement, placement_of, reproducible
from tunesmith.train.plan import TrainingPlan
from tunesmith.train.reference import keep_references, with_references
from tunesmith.train.rollouts import rollouts_for, sampling_check
from tunesmith.train.run_folder import begun, run_folder
from tunesmith.train.settled import Settled, only_process, read_settled, write_settled
from tunesmith.train.teaching import teach
from tunesmith.train.tracker import Parameter, TrackedRun, Tracker
from tunesmith.train.trunk import first_trained_layer, trunk_bytes
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import SplitName
from tunesmith.types.recipe import PluginSpec, TrainSpec
from tunesmith.types.run import RunRecord
from tunesmith.types.tracked import track, unread

__all__ = ["train"]

ENVIRONMENT_FILE = "environment.json"
_SPLITS: tuple[SplitName, ...] = ("train", "validation")


class _Place(NamedTuple):
    """Where a run lies, the digest of all that makes it, and who trains it."""

    folder: Path
    digest: str
    team: Team


def train(spec: TrainSpec, given: TrainingInput, progress: Progress) -> RunRecord:
    """Train, or resume, or reuse the finished run of the very same input.

    Raises:
        TrainingFailed: a self-check failed, a number was not finite, or nothing was learned.
        ModelError: the base, the method and the recipe do not fit together.
        RecipeError: an option would have no effect, or had none.
        Interrupted: SIGTERM or SIGINT; a checkpoint is saved.
    """
    spec = begun(spec, given)
    folder, digest = run_folder(spec, given)
    folder.mkdir(parents=True, exist_ok=True)
    team = given.team or Alone()
    owner = only_process(folder) if team.leads else nullcontext()
    with owner, plain_disk_errors(folder), team.interruption.listening(), short_collections():
        finished = finished_run(folder)
        if finished and not owes_preferences(finished, given):
            progress.say(f"reusing the finished run {folder.name}")
            return finished.model_copy(update={"path": str(folder)})
        if team.leads and not (folder / ENVIRONMENT_FILE).is_file():
            (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment(), indent=2))
        tracked = track(spec)
        team.require(tracked)
        placement = placement_of(tracked)
        placement = placement._replace(device=team.own_device(placement.device))
        with reproducible(placement.device, progress):
            prepared = _prepare(tracked, given, folder, placement, progress)
            state = _run(tracked, prepared, _Place(folder, digest, team), progress)
            return team.choose(lambda: _record(tracked, prepared, state, given, folder))


def _record(
    tracked: TrainSpec, prepared: Prepared, state: TrainedState, given: TrainingInput, folder: Path
) -> RunRecord:
    """The record of a run that learned and whose every option was applied; from then on the run is finished."""
    team = given.team or Alone()
    model = team.regathered(prepared.model, lambda: _wrapped_anew(tracked, prepared, given))
    record = finish(prepared._replace(model=model), state, given, folder)
    if ignored := unread(tracked):
        raise RecipeError([Problem("was accepted but not applied", field=f"train.{name}") for name in ignored])
    write_record(record, folder)
    return record


def _wrapped_anew(spec: TrainSpec, prepared: Prepared, given: TrainingInput) -> Any:
    base = given.shared.base(given.base.path, placement_of(spec))
    return wrapped(prepared.method, base, spec.seed, given.parent)


def _prepare(spec: TrainSpec, given: TrainingInput, folder: Path, placement: Placement, progress: Progress) -> Prepared:
    """Model, rows and objective, proven on the first rows, with what the run settles once."""
    team, precision = given.team or Alone(), placement.precision
    settled, watch = team.choose(lambda: read_settled(folder)), PeakWatch(memory_of(placement.device, team.local_size))
    if settled:
        torch.set_num_threads(max(1, settled.threads // team.local_size))
        placement.announce_move(settled.device, progress)
    renderer = Renderer(given.base.path)
    objective = _plugin(OBJECTIVES, spec.objective, Objective)
    require_shape(objective, spec.objective.name, given.dataset.manifest)
    method = _plugin("tunesmith.models.methods", spec.method, Method)
    rollouts = rollouts_for(spec, objective, method, (given.tools, renderer))
    groups, validation = (given.shared.groups(renderer, given.dataset, split, objective) for split in _SPLITS)
    require_validation(spec, len(validation))
    attention.register()
    progress.say(f"loading {given.base.name} in {placement}")
    model = given.shared.base(given.base.path, placement, replaced=method.replaces_base)
    ordered = given.dataset.manifest.ordered
    plan = TrainingPlan(len(groups), spec.batch_size, spec.epochs, spec.seed, ordered)
    first = [groups[index] for index in plan.indices(0)]
    promise = selfchecks.SAME_START if spec.start_from else selfchecks.NO_OP if method.starts_as_base else None
    start = selfchecks.start_of(said_by(model, given.parent), rows_of(first), spec.batching, promise)
    groups, validation = (behind(method.virtual_ids(), part) for part in (groups, validation))
    first = [groups[index] for index in plan.indices(0)]
    model = wrapped(method, model, spec.seed, given.parent).train()
    method.start_from_rows(model, rows_of(groups))
    if objective.needs.values:
        add_score_head(model)
    teach(model, objective.needs, method, given, placement)
    train_rows(model, new_token_ids(given.base.path), given.parent.folder if given.parent else None)
    progress.say(trainable_share(model))
    progress.say("self-checks before the first step")
    if objective.needs.reference:
        first = with_references(model, first, spec.batching)
    checks = selfchecks.before_first_step(model, first, objective, spec.batching, precision, start)
    selfchecks.require(checks)
    trunk = None
    rows = [row for group in (*groups, *validation) for row in (*group.rows, *group.unpaired)]
    # Noise on the embeddings changes what the frozen layers say at every step; sampled rows are not known beforehand.
    can_keep = not rollouts and not objective.needs.embedding_noise and (settled is None or settled.keeps_trunk)
    if can_keep:
        fits = partial(team.choose, partial(_trunk_fits, model, rows, watch.memory, progress))
        trunk = given.shared.trunk(model, rows, fits if settled is None else lambda: True, progress)
    if trunk is not None:
        checks = (*checks, selfchecks.trunk_check(model, trunk, rows_of(first), precision))
        selfchecks.require(checks)
    if rollouts:
        checks = (*checks, sampling_check(rollouts, model, groups, precision))
        selfchecks.require(checks)
    prepared = Prepared(model, method, objective, plan, groups, validation, precision, trunk, checks, settled, watch)
    prepared = prepared._replace(name_row=given.dataset.name_row, rollouts=rollouts, identity=identity_of(given))
    prepared = prepared._replace(must_improve=spec.must_improve)
    if settled is None:
        room = team.choose(lambda: _settle(spec, prepared, first, (team, folder), progress))
        prepared = prepared._replace(settled=room)
    return team.leader_first(lambda: _referred(prepared, spec.batching, folder, progress))


def _referred(prepared: Prepared, batching: Batching, folder: Path, progress: Progress) -> Prepared:
    """With the start policy's log-probabilities where the objective needs them, and its step-0 identities checked."""
    model, objective, trunk = prepared.model, prepared.objective, prepared.trunk
    if objective.needs.reference:
        splits = (prepared.groups, prepared.validation)
        groups, validation = keep_references(model, splits, batching, trunk, (folder, progress))
        prepared = prepared._replace(groups=groups, validation=validation)
    first = [prepared.groups[index] for index in prepared.plan.indices(0)]
    checks = identity_checks(model, first, objective, (batching, trunk), prepared.precision)
    selfchecks.require(checks)
    return prepared._replace(checks=(*prepared.checks, *checks))


def _run(spec: TrainSpec, prepared: Prepared, place: _Place, progress: Progress) -> TrainedState:
    settled, folder, digest, team = prepared.settled, place.folder, place.digest, place.team
    if settled is None:
        raise TrainingFailed("The run has not settled how it is computed.")
    fresh = prepared.method.start(prepared.model) if team.leads else {}
    resume = team.choose(lambda: checkpoints.latest(folder / "checkpoints", digest, progress) or 0)
    saved = checkpoints.read(folder / "checkpoints", resume) if resume else None
    if saved:
        load_adapter_state(prepared.model, saved.adapter)
        prepared.method.load_extra_state(prepared.model, saved.method)
        progress.say(f"resuming after step {resume} of {prepared.plan.steps}")
    team.shard(prepared.model)
    trackers = [_plugin("tunesmith.train.trackers", choice, Tracker) for choice in spec.trackers if team.leads]
    groups, plan = prepared.method.parameter_groups(prepared.model), prepared.plan
    optimizer = make_optimizer(groups, spec.learning_rate, spec.weight_decay, spec.optimizer)
    if saved:
        load_optimizer_tensors(optimizer, team.parted(saved.optimizer, optimizer))
    with ExitStack() as stack:
        tracked_run = TrackedRun(folder, resume, _flat(spec.model_dump(mode="json"), "train"))
        sinks = [stack.enter_context(tracker.open(tracked_run)) for tracker in trackers]
        training = Training(
            options=LoopOptions.of(spec, max(settled.accumulate, spec.accumulate)),
            model=prepared.model,
            optimizer=optimizer,
            method=prepared.method,
            objective=prepared.objective,
            plan=plan,
            groups=prepared.groups,
            validation=prepared.validation,
            metrics=MetricsLog(folder, sinks, resume) if team.leads else Unlogged(),
            checkpoints=folder / "checkpoints",
            trunk=prepared.trunk,
            name_row=prepared.name_row,
            interruption=team.interruption,
            rollouts=prepared.rollouts,
            team=team,
            epochs=EpochAdapters(folder / EPOCHS_FOLDER, plan, spec.keep_epochs, partial(save, prepared, fresh)),
        )
        stack.enter_context(team.stepping())
        state = run_steps(training, saved.state if saved else CheckpointState(run_digest=digest, step=0), progress)
    return TrainedState(state, fresh)


def _settle(
    spec: TrainSpec, prepared: Prepared, first: Sequence[Group], place: tuple[Team, Path], progress: Progress
) -> Settled:
    team, folder = place
    shared = spec.model_copy(update={"accumulate": min(max(spec.accumulate, team.size), spec.batch_size)})
    room = fit(shared, prepared, first, team.parts)
    progress.say(str(room))
    settled = Settled(
        accumulate=room.accumulate,
        keeps_trunk=prepared.trunk is not None,
        threads=torch.get_num_threads() * team.local_size,
        device=describe(device_of(prepared.model)),
        resident_bytes=room.resident_bytes,
        predicted_peak_bytes=room.predicted_peak_bytes,
    )
    write_settled(folder, settled)
    return settled


def _trunk_fits(model: Any, rows: Sequence[Rendered], memory: Memory, progress: Progress) -> bool:
    """Whether there are frozen lower layers whose output for all rows a quarter of memory holds."""
    if model.config._attn_implementation not in attention.TREE_ATTENTIONS or not first_trained_layer(model):
        return False
    size, limit = trunk_bytes(model, rows), memory.available() // 4
    if size > limit:
        progress.say(f"frozen layers are computed anew each step: keeping them would take {size / 2**30:.1f} GB")
    return size <= limit


def _plugin(folder: str, choice: PluginSpec, kind: type[Any]) -> Any:
    plugin = plugins.load(folder, choice.name).model_validate(choice.options)
    if not isinstance(plugin, kind):
        raise TypeError(f"{folder}.{choice.name} is not a {kind.__name__}")
    return plugin


def _flat(value: Any, name: str) -> dict[str, Parameter]:
    """Options by dotted name."""
    if isinstance(value, dict):
        return {key: inner for part in value for key, inner in _flat(value[part], f"{name}.{part}").items()}
    return {name: json.dumps(value) if isinstance(value, list) else value}
