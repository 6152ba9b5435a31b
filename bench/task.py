"""From a workload to what both sides train: a prepared data set, a recipe, and the token ids of every step.

Ours is the real thing: `prepare`, then the train stage. The peer gets the ids that our stage will train, in the order
of our plan, so neither another template nor another order of rows can make a difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.side import Job
from bench.workload import Workload, workload_of
from tunesmith import plugins
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, resolve_base
from tunesmith.prepare.stage import prepare
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.groups import OBJECTIVES, groups_of
from tunesmith.train.objective import Group, Objective
from tunesmith.train.plan import TrainingPlan
from tunesmith.train.rollouts import Completion, completed_row
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec

__all__ = ["Task", "make_task", "stored_completions", "write_tokens"]

CANDIDATES = 100
"""rows looked at besides those wanted: some are too long, some repeat others"""


class Task(NamedTuple):
    """One workload made ready: the stage's input, and the groups of every step as the objective sees them."""

    workload: Workload
    spec: TrainSpec
    base: BaseFiles
    renderer: Renderer
    dataset: StoredDataset
    steps: tuple[Sequence[Group], ...]


def make_task(job: Job, workload: Workload | None = None) -> Task:
    """Prepare exactly the rows that `job` trains (of `workload`, or of the one it names).

    Raises FileNotFoundError without the data set.
    """
    workload = workload or workload_of(job.workload)
    base = resolve_base(ModelSpec(base=str(job.base)), job.folder)
    renderer = Renderer(base.path)
    wanted = job.batch * job.steps
    rows = workload.rows(job.data)[: CANDIDATES + wanted]
    usable = _prepared(rows, "candidates.jsonl", workload, renderer, job.folder)
    lines = sorted(example.line for example in usable.examples("train"))[:wanted]
    if len(lines) < wanted:
        raise ValueError(f"{job.workload} has {len(lines)} usable rows, {wanted} are needed")
    dataset = _prepared([rows[line - 1] for line in lines], "rows.jsonl", workload, renderer, job.folder)
    spec = _spec(workload, job)
    objective = plugins.load(OBJECTIVES, spec.objective.name).model_validate(spec.objective.options)
    if not isinstance(objective, Objective):
        raise TypeError(f"{spec.objective.name} is not an objective")
    groups = groups_of(renderer, dataset, "train", objective)
    plan = TrainingPlan(len(groups), job.batch, 1, spec.seed)
    steps = []
    for step in range(plan.steps):
        chosen = [groups[index] for index in plan.indices(step)]
        if objective.needs.completions:
            chosen = list(objective.complete([_answered(group, renderer) for group in chosen], _unasked))
        steps.append(chosen)
    return Task(workload, spec, base, renderer, dataset, tuple(steps))


def write_tokens(task: Task, file: Path) -> None:
    """The groups of every step as JSON for the peer: ids and loss weights of each row, advantages of each group."""
    steps = [
        [
            {
                "rows": [{"ids": row.token_ids, "weights": row.loss_weights} for row in g.rows],
                "advantages": g.advantages,
            }
            for g in groups
        ]
        for groups in task.steps
    ]
    file.write_text(json.dumps(steps))


def stored_completions(item: Mapping[str, Any], renderer: Renderer) -> list[tuple[int, ...]]:
    """Token ids of a row's own `completions`."""
    return [renderer.answer_ids(text) for text in item["completions"]]


def _prepared(
    rows: Sequence[dict[str, Any]], name: str, workload: Workload, renderer: Renderer, home: Path
) -> StoredDataset:
    (home / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = {"split": {"validation": 0.0, "test": 0.0}, "max_tokens": workload.max_tokens, "max_drop_rate": 1.0}
    spec = PrepareSpec.model_validate({"sources": [{"path": name}], **options})
    return prepare(spec, renderer=renderer, base_dir=home, home=home)


def _spec(workload: Workload, job: Job) -> TrainSpec:
    """A constant rate and no trackers: what TRL is told too."""
    return TrainSpec.model_validate(
        {
            "method": workload.method(job.rank),
            "objective": workload.objective(),
            "grader": workload.grader(),
            "trackers": (),
            "epochs": 1,
            "batch_size": job.batch,
            "learning_rate": workload.learning_rate,
            "schedule": "constant",
            "warmup_ratio": 0.0,
            "precision": job.precision,
            "checkpoint_every": job.steps,
        }
    )


def _answered(group: Group, renderer: Renderer) -> Group:
    """A prompt with its stored completions, the right one being the first."""
    found = stored_completions(group.item, renderer)
    rows = [completed_row(group.prompt, Completion(ids, (0.0,) * len(ids), ended=True)) for ids in found]
    return group._replace(rows=tuple(rows), rewards=(1.0, *(0.0,) * (len(rows) - 1)))


def _unasked(rows: Sequence[Rendered]) -> torch.Tensor:
    raise NotImplementedError("no workload's objective compares with rows outside its groups")
