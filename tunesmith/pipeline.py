"""The product: the stages in order. The only module that sees two of them.

    prepare -> train -> evaluate -> gate -> release

Each function runs its stage and what must come before it; a stage whose input has not changed reuses its result.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tunesmith.errors import Problem, RecipeError
from tunesmith.evaluate.cache import evaluation_digest, read_report, write_report
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.write import write
from tunesmith.evaluate.stage import EvaluationInput, contestants_of
from tunesmith.gate.stage import judge
from tunesmith.grade.grader import load_grader
from tunesmith.judging import facts_of, narrowed, refuse_unjudgeable, settle
from tunesmith.measurement import Measured, computed_in, measure, measuring_engine, suites_of
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.parents import find_parent
from tunesmith.parity import Subject, certify
from tunesmith.prepare.reported import prepare_and_report
from tunesmith.prepare.workers import Workers
from tunesmith.progress import Progress, Quiet
from tunesmith.recipes import effective, track, unread
from tunesmith.release.evidence import FACTS_FILE, RECIPE_FILE
from tunesmith.release.stage import ADAPTER_FOLDER
from tunesmith.release.stage import release as release_stage
from tunesmith.release.waivers import WaiverWish
from tunesmith.settings import Settings
from tunesmith.store.datasets import StoredDataset
from tunesmith.store.values import write_value
from tunesmith.train.finish import TrainingInput
from tunesmith.train.grid import require_sound, train_grid
from tunesmith.train.metrics import METRICS_FILE
from tunesmith.train.parallel.joining import joined
from tunesmith.train.parallel.team import Alone, Team
from tunesmith.train.run_folder import begun, run_folder
from tunesmith.train.shared import Shared
from tunesmith.train.stage import train as train_stage
from tunesmith.training_tools import training_tools
from tunesmith.types.base import Value
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.decision import Decision
from tunesmith.types.recipe import PluginSpec, Recipe
from tunesmith.types.release import Release
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord
from tunesmith.types.tuning import GridPoint, TuneReport

__all__ = ["Outcome", "evaluate", "gate", "joined", "prepare", "release", "run", "train", "tune"]

EVALUATION_FOLDER = "evaluation"

Spec = TypeVar("Spec", bound=Value)
Result = TypeVar("Result")


class Outcome(Value):
    """Everything a whole run gives."""

    dataset: DatasetManifest
    run: RunRecord
    report: EvaluationReport
    decision: Decision
    release: Release
    report_path: Path


def prepare(
    recipe: Recipe, folder: Path, settings: Settings, progress: Progress, workers: Workers | None = None
) -> StoredDataset:
    """The dataset of `recipe`, whose source paths are relative to `folder`; `workers` do not change its bytes."""
    base = resolve_base(recipe.model, settings.home, progress)
    renderer = Renderer(base.path)
    return prepare_and_report(
        recipe, renderer=renderer, base_dir=folder, home=settings.rows, progress=progress, workers=workers
    )


def train(recipe: Recipe, folder: Path, settings: Settings, progress: Progress, team: Team | None = None) -> RunRecord:
    """The finished training run of `recipe`: resumed if it was interrupted, reused if it is there.

    With a `team`, all its processes call this.
    """
    refuse_unjudgeable(recipe, folder)
    team = team or Alone()
    given = team.leader_first(lambda: _training_input(recipe, folder, settings, progress))
    return _train(recipe, given._replace(team=team), progress)


def tune(points: Sequence[GridPoint], folder: Path, settings: Settings, progress: Progress) -> TuneReport:
    """The finished runs of all grid points, each as `train` would give it, in one process on one base.

    Their recipes differ in `train` only. Raises RecipeError with all problems before a weight is loaded; a point that
    fails later is reported with the others.
    """
    recipe = points[0].recipe
    refuse_unjudgeable(recipe, folder)
    given = _training_input(recipe, folder, settings, progress)
    require_sound(points, given)

    def train_one(point: GridPoint, shared: Shared) -> RunRecord:
        return _train(point.recipe, given._replace(tools=training_tools(given.base), shared=shared), progress)

    return train_grid(points, given, train_one, progress)


def _train(recipe: Recipe, given: TrainingInput, progress: Progress) -> RunRecord:
    if given.team is None or given.team.leads:
        place, _ = run_folder(recipe.train, given)
        place.mkdir(parents=True, exist_ok=True)
        begins = recipe.model_copy(update={"train": begun(recipe.train, given)})
        (place / RECIPE_FILE).write_text(effective(begins))
        (place / "dataset.json").write_text(given.dataset.manifest.model_dump_json(indent=2))
        grader = recipe.train.grader
        if grader and (warning := asyncio.run(load_grader(grader.model_dump()).warning())):
            progress.say(warning)
    return train_stage(recipe.train, given, progress)


def evaluate(recipe: Recipe, folder: Path, settings: Settings, progress: Progress) -> EvaluationReport:
    """All contestants of `recipe` measured on the same held-out rows, through the engine that serves."""
    spec = track(recipe.evaluate)
    suites = suites_of(spec, folder)
    dataset = prepare(recipe, folder, settings, progress)
    _require_split(recipe, dataset)
    record = train(recipe, folder, settings, progress)
    base = resolve_base(recipe.model, settings.home, progress)
    subject = EvaluationInput(
        contestants=contestants_of(spec, recipe.model.base, record.adapter_digest),
        examples=tuple(example for example in dataset.examples(recipe.evaluate.split) if example.wanted),
        labels=dataset.manifest.labels,
        dataset_digest=dataset.manifest.digest,
        suites=suites,
        system_prompt=dataset.manifest.system_prompt,
    )
    digest = evaluation_digest(
        recipe.evaluate,
        subject,
        base_digest=base.digest,
        template_digest=record.template_digest,
        precision=computed_in(recipe.train.device),
    )
    place = Path(record.path) / EVALUATION_FOLDER
    known = read_report(place, digest)
    if known is not None:
        progress.say("reusing the evaluation of this run")
        return known
    measured = Measured(base, record, recipe.train.device, settings.home)
    report = asyncio.run(measure(spec, measured, subject, progress))
    _refuse_unread("evaluate", spec)
    write_report(report, place, digest)
    return report


def gate(
    recipe: Recipe, folder: Path, settings: Settings, progress: Progress, waive: WaiverWish | None = None
) -> Decision:
    """The verdicts of all gate rules of `recipe` with the waivers that stand; written beside the run with the facts
    that were judged. `waive` signs one more.
    """
    report = evaluate(recipe, folder, settings, progress)
    quiet = Quiet(progress)
    record, dataset = train(recipe, folder, settings, progress), prepare(recipe, folder, settings, quiet)
    facts = facts_of(record, dataset, report)
    write_value(Path(record.path) / FACTS_FILE, facts)
    decision = _every_option_applied("gate", recipe.gate, lambda spec: judge(spec, report, facts, narrowed))
    return settle(decision, Path(record.path), settings.home, waive, progress)


def release(recipe: Recipe, folder: Path, settings: Settings, progress: Progress) -> Release:
    """The registered release of `recipe`; its alias moves only when the gate passed."""
    return run(recipe, folder, settings, progress).release


def run(recipe: Recipe, folder: Path, settings: Settings, progress: Progress) -> Outcome:
    """All stages, and the report."""
    decision = gate(recipe, folder, settings, progress)
    quiet = Quiet(progress)
    report = evaluate(recipe, folder, settings, quiet)
    record = train(recipe, folder, settings, quiet)
    manifest = prepare(recipe, folder, settings, quiet).manifest
    _certify(recipe, record, manifest, settings, progress)
    released = release_stage(
        recipe.release, run=record, report=report, decision=decision, manifest=manifest, settings=settings
    )
    facts = _facts(recipe, record, report, decision, manifest)
    files = write(facts, Path(record.path))
    return Outcome(
        dataset=manifest, run=record, report=report, decision=decision, release=released, report_path=files.html
    )


def _certify(
    recipe: Recipe, record: RunRecord, manifest: DatasetManifest, settings: Settings, progress: Progress
) -> None:
    """The parity certificate beside the run: what evaluates and what serves compute what was trained."""
    base = resolve_base(recipe.model, settings.home, progress)
    subject = Subject(record, base, Path(record.path) / ADAPTER_FOLDER, manifest.system_prompt)
    device = recipe.train.device
    server = PluginSpec.model_validate({"name": "embedded", "device": device})
    certify(
        subject,
        recipe.train,
        {"evaluator": measuring_engine(recipe.evaluate.concurrency, device), "server": server},
        progress,
    )


def _training_input(recipe: Recipe, folder: Path, settings: Settings, progress: Progress) -> TrainingInput:
    dataset = prepare(recipe, folder, settings, progress)
    base = resolve_base(recipe.model, settings.home, progress)
    parent = find_parent(recipe.train, folder, settings)
    return TrainingInput(recipe.name, base, dataset, settings.home, training_tools(base), parent=parent)


def _every_option_applied(stage: str, spec: Spec, work: Callable[[Spec], Result]) -> Result:
    """Run `work` on a spec that knows what was read of it; options that nothing looked at are refused."""
    tracked = track(spec)
    result = work(tracked)
    _refuse_unread(stage, tracked)
    return result


def _refuse_unread(stage: str, spec: Value) -> None:
    ignored = unread(spec)
    if ignored:
        problems = [Problem("was accepted but not applied", field=f"{stage}.{name}") for name in ignored]
        raise RecipeError(problems, message="Options of the recipe had no effect; the run is refused.")


def _require_split(recipe: Recipe, dataset: StoredDataset) -> None:
    """Found before training, not after it."""
    if recipe.evaluate.split not in dataset.manifest.splits:
        there = ", ".join(dataset.manifest.splits)
        problem = Problem(
            f"the dataset has no {recipe.evaluate.split} split",
            field="evaluate.split",
            fix=f"it has: {there}; or give prepare.split.{recipe.evaluate.split} a share above 0",
        )
        raise RecipeError([problem])


def _facts(
    recipe: Recipe, record: RunRecord, report: EvaluationReport, decision: Decision, manifest: DatasetManifest
) -> ReportFacts:
    place = Path(record.path)
    environment: dict[str, Any] = json.loads((place / "environment.json").read_text())
    packages = environment.pop("packages")
    return ReportFacts(
        title=recipe.name,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        dataset=manifest,
        run=record,
        evaluation=report,
        decision=decision,
        metrics=tuple(json.loads(line) for line in (place / METRICS_FILE).read_text().splitlines()),
        environment={name: str(value) for name, value in {**environment, **packages}.items() if value},
        places={
            "run directory": str(place),
            "adapter": str(place / ADAPTER_FOLDER),
            "effective recipe": str(place / RECIPE_FILE),
            "metrics": str(place / METRICS_FILE),
            "evaluation": str(place / EVALUATION_FOLDER),
        },
        next_steps={
            "ask the tuned model": f"tunesmith chat {recipe.release.name}",
            "serve it": "tunesmith serve",
            "watch the loss": f"tensorboard --logdir {place / 'tensorboard'}",
        },
    )
