"""After the last step: save the best adapter, prove that the run learned, write its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith.errors import TrainingFailed
from tunesmith.models.adapter import AdapterIdentity, adapter_digest, load_adapter_state, save_adapter
from tunesmith.models.method import Method
from tunesmith.models.new_tokens import row_tensors, save_rows
from tunesmith.models.parameters import count_parameters, free_tensors
from tunesmith.models.score_head import SCORE, save_score_head
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles
from tunesmith.store.datasets import StoredDataset
from tunesmith.store.values import read_value, write_value
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train import learned, memory, selfchecks
from tunesmith.train.checkpoint import CheckpointState
from tunesmith.train.held_out import held_out_split, preference_score
from tunesmith.train.learned import Said
from tunesmith.train.memory import PeakWatch
from tunesmith.train.objective import Group, Objective, rows_of
from tunesmith.train.parallel.team import Team
from tunesmith.train.parent import Parent
from tunesmith.train.placement import Placement
from tunesmith.train.plan import TrainingPlan
from tunesmith.train.rollouts import Rollouts, Tools
from tunesmith.train.settled import Settled
from tunesmith.train.shared import Unshared
from tunesmith.train.trunk import Trunk
from tunesmith.types.dataset import Check, SplitName
from tunesmith.types.run import RunRecord

__all__ = [
    "RUN_FILE",
    "Prepared",
    "TrainedState",
    "TrainingInput",
    "finish",
    "finished_run",
    "identity_of",
    "owes_preferences",
    "save",
    "write_record",
]

RUN_FILE = "run.json"
CHECKS_FILE = "checks.json"

Tensors = dict[str, torch.Tensor]


class TrainingInput(NamedTuple):
    """What is trained on what, and where the result goes."""

    name: str
    base: BaseFiles
    dataset: StoredDataset
    home: Path
    tools: Tools | None = None
    """what samples and grades answers, for objectives that learn from rewards"""
    team: Team | None = None
    """the processes that train together, where there are several"""
    shared: Unshared = Unshared()
    """what it takes over from runs before it in the same process"""
    parent: Parent | None = None
    """the adapter that training starts from, where the recipe names one"""


class Prepared(NamedTuple):
    """A run that is ready for its first step. `settled` is None until memory has been planned; `watch` knows its
    highest memory use; `name_row` gives a row's id and place in its source, from its split and its id.
    """

    model: Any
    method: Method
    objective: Objective
    plan: TrainingPlan
    groups: Sequence[Group]
    validation: Sequence[Group]
    precision: str
    trunk: Trunk | None
    checks: tuple[Check, ...]
    settled: Settled | None
    watch: PeakWatch
    name_row: Callable[[SplitName, str], str] = "{} row {}".format
    rollouts: Rollouts | None = None
    identity: AdapterIdentity | None = None
    """what saved adapters say they belong to"""
    must_improve: bool = True
    """whether the run has failed when its validation loss did not fall"""


class TrainedState(NamedTuple):
    """A run after its last step, and the trained tensors it began with."""

    state: CheckpointState
    fresh: dict[str, torch.Tensor]


def finish(prepared: Prepared, trained: TrainedState, given: TrainingInput, folder: Path) -> RunRecord:
    """The record of a run that learned, its adapter under `folder`/adapter. Raises TrainingFailed if it did not."""
    model, state, settled = prepared.model, trained.state, prepared.settled
    best_step = state.best_step or state.step
    best = checkpoints.read(folder / "checkpoints", best_step).adapter
    load_adapter_state(model, best)
    model.eval()
    manifest = given.dataset.manifest
    identity = identity_of(given)
    digest = save(prepared._replace(identity=identity), trained.fresh, best, folder / "adapter")
    trainable, total = count_parameters(model)
    said = learned.said_of(model, rows_of(prepared.groups[:2])[:2], prepared.objective)
    checks = (
        *prepared.checks,
        *learned.after_last_step(trained.fresh, best, state.start_validation_loss, state.best_validation_loss),
    )
    pairs = (given.dataset, held_out_split(given.dataset, given.shared.held_out))
    preferences = preference_score(model, prepared.method, prepared.objective, Renderer(given.base.path), pairs)
    # A second base beside the trained model would be the run's peak.
    del best
    _free(prepared, trained)
    checks += _reloads(said, given, folder / "adapter", prepared.precision)
    (folder / CHECKS_FILE).write_text(json.dumps([check.model_dump() for check in checks], indent=2))
    selfchecks.require([check for check in checks if prepared.must_improve or check.name != learned.IMPROVED])
    return RunRecord(
        id=folder.name,
        name=given.name,
        path=str(folder),
        base=given.base.name,
        base_digest=given.base.digest,
        dataset_digest=manifest.digest,
        template_digest=identity.template_digest,
        adapter_digest=digest,
        start_from=given.parent.reference if given.parent else None,
        parent_digest=identity.parent,
        precision=prepared.precision,
        steps=state.step,
        best_step=best_step,
        start_validation_loss=state.start_validation_loss,
        best_validation_loss=state.best_validation_loss,
        held_out_preferences=preferences,
        trainable_parameters=trainable,
        total_parameters=total,
        effective_tokens=state.effective_tokens,
        computed_tokens=state.computed_tokens,
        seconds=state.seconds,
        processor_seconds=state.processor_seconds,
        accumulate=settled.accumulate if settled else 1,
        threads=settled.threads if settled else 0,
        device=settled.device if settled else "cpu",
        predicted_peak_bytes=settled.predicted_peak_bytes if settled else 0,
        actual_peak_bytes=prepared.watch.highest,
        checks=checks,
    )


def _reloads(said: Said, given: TrainingInput, adapter: Path, precision: str) -> tuple[Check, ...]:
    """Whether the saved adapter on an untouched base says what the trained model said."""
    plain = Placement(said.device, "bfloat16" if precision == "bfloat16" else "float32", "sdpa")
    check = learned.reloads_the_same(said, given.shared.base(given.base.path, plain), adapter, precision)
    if said.values is None:
        return (check,)
    return check, learned.scores_the_same(said, given.base.path, adapter, precision)


def _free(prepared: Prepared, trained: TrainedState) -> None:
    """Give up all that training held."""
    if prepared.trunk is not None:
        prepared.trunk.forget()
    trained.fresh.clear()
    free_tensors(prepared.model)
    memory.release_unused()


def identity_of(given: TrainingInput) -> AdapterIdentity:
    """What an adapter trained on `given` says it belongs to."""
    proof = given.dataset.manifest.proof
    return AdapterIdentity(
        base=given.base.name,
        base_digest=given.base.digest,
        template_digest=proof.template_digest,
        tokenizer_digest=proof.tokenizer_digest,
        parent=given.parent.digest if given.parent else None,
    )


def save(prepared: Prepared, fresh: Tensors, trained: Tensors, folder: Path) -> str:
    """Write the adapter `trained` of a run that began at `fresh`, and beside it the score head and the rows of new
    tokens, if any; the digest of all.
    """
    if prepared.identity is None:
        raise TrainingFailed("The run does not know what its adapter belongs to.")
    apart = {SCORE, *row_tensors(prepared.model)}
    states = ({name: tensor for name, tensor in state.items() if name not in apart} for state in (trained, fresh))
    save_adapter(prepared.method.export(prepared.model, *states), prepared.identity, folder)
    save_rows(prepared.model, trained, folder)
    if SCORE in trained:
        save_score_head(trained[SCORE], folder)
    return adapter_digest(folder)


def owes_preferences(record: RunRecord, given: TrainingInput) -> bool:
    """Whether a finished run has yet to be measured on the test split: it was one of several to choose from."""
    wanted, measured = held_out_split(given.dataset, given.shared.held_out), record.held_out_preferences
    return wanted == "test" and (measured is None or measured.split != wanted)


def finished_run(folder: Path) -> RunRecord | None:
    """The record of the run in `folder`, or None while it has not succeeded."""
    return read_value(folder / RUN_FILE, RunRecord)


def write_record(record: RunRecord, folder: Path) -> None:
    """Write `record` to `folder`/run.json; from then on the run counts as finished."""
    write_value(folder / RUN_FILE, record)
