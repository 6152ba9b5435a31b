"""decide: measure ways to get the answers on the user's own rows, and recommend one.

Prompts, numbers of examples and chunks are chosen on the validation rows, the learning curve is measured on them too;
each family's one choice then answers the test rows once, and the rules compare those answers. Everything measured is
kept under home/decisions and reused, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tunesmith import pipeline
from tunesmith.decide.budget import Budget
from tunesmith.decide.collect import more_rows_help, rows_to_collect
from tunesmith.decide.costs import break_even, cost_of
from tunesmith.decide.evidence import BreakEven, Collect, Cost, DecideReport, Evidence, Family
from tunesmith.decide.kept import FOLDER
from tunesmith.decide.measuring import Lab, Result
from tunesmith.decide.nearest import load_embedder
from tunesmith.decide.options import DecideOptions
from tunesmith.decide.pairs import compare_families
from tunesmith.decide.prompting import Rows, Untuned, measure_untuned
from tunesmith.decide.recommend import recommend
from tunesmith.decide.retrieval import read_chunks
from tunesmith.decide.rules import judge, rival_of
from tunesmith.decide.subsets import store_subset
from tunesmith.decide.tuning import Trained, Tuner, TunesMeasured, measure_tunes, require_base, train_subsets
from tunesmith.decide.writing import DecisionFiles, write
from tunesmith.engine.engine import Engine
from tunesmith.errors import EvaluationError, Problem, RecipeError
from tunesmith.gate.bound import AtLeast
from tunesmith.gate.stage import load_rule
from tunesmith.progress import Progress, Silent
from tunesmith.settings import Settings
from tunesmith.store.datasets import StoredDataset
from tunesmith.store.values import read_value, write_value
from tunesmith.train.shared import Shared
from tunesmith.trials import (
    Grounds,
    adapter_folder,
    finished,
    gate_metric,
    open_grounds,
    serving_engine,
    train_one,
    wanted_rows,
)
from tunesmith.types.base import digest_json
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import GateSpec, Recipe

__all__ = ["Measured", "Task", "conclude", "decide", "gate_wants"]

BITS_PER_PARAMETER = 2.0


class Task(NamedTuple):
    """What is decided about: the rows, the options, and all figures that no measurement changes."""

    name: str
    base: str
    dataset_digest: str
    metric: str
    rows: Rows
    options: DecideOptions
    confidence: float
    trained_tokens: int


class Measured(NamedTuple):
    """All that was measured."""

    untuned: Untuned
    trained: tuple[Trained, ...]
    tunes: TunesMeasured


def decide(
    recipe: Recipe, folder: Path, options: DecideOptions, settings: Settings, progress: Progress
) -> tuple[DecideReport, DecisionFiles]:
    """The recommendation for `recipe`, with decision.html, .md and .json under home/decisions.

    Raises RecipeError when there are no validation or test rows, they have no answers, or tunes start from an adapter;
    DataError for documents that cannot be read; and what preparing, training and answering raise.
    """
    require_base(recipe.train)
    dataset = pipeline.prepare(recipe, folder, settings, progress)
    grounds = open_grounds(recipe, folder, settings, Silent())
    budget = Budget(options.budget_minutes)
    task = _task(recipe, grounds, dataset, options)
    place = settings.home / FOLDER / f"{recipe.name}-{dataset.manifest.digest[:12]}"
    untuned = asyncio.run(_untuned(grounds, task, place, folder, (budget, progress)))
    tuner = Tuner(partial(_tune, grounds, (Shared(), place, progress)), partial(_finished, grounds))
    trained = train_subsets(task.rows, task.options, options.passes or recipe.train.epochs, tuner, budget)
    tunes = asyncio.run(_tuned(grounds, task, place, trained, (budget, progress)))
    report = conclude(task, Measured(untuned, trained, tunes), budget)
    return report, write(report, place)


def conclude(task: Task, measured: Measured, budget: Budget) -> DecideReport:
    """The report on what was measured: no more measuring, so the same measurements give the same report.

    Raises EvaluationError when the budget ended before anything was measured on the held-out rows.
    """
    held_out = (*measured.untuned.held_out, *measured.tunes.held_out)
    if not held_out:
        raise EvaluationError(
            f"After {budget.spent:.0f} s nothing was measured on the test rows: the budget is too small.",
            hint="Give more --budget-minutes or fewer --rows; what was measured is kept and not measured again.",
        )
    chosen: dict[Family, Result] = {result.way.family: result for result in held_out}
    prices, trained = task.options.prices, measured.trained
    costs = {family: cost_of(result.arm, prices) for family, result in chosen.items()}
    pairs = compare_families(
        {family: result.contestant for family, result in chosen.items()}, task.metric, task.rows.labels, task.confidence
    )
    score = held_out[0].arm.score
    evidence = Evidence(
        metric=task.metric,
        better=score.better,
        scale=score.scale,
        confidence=task.confidence,
        train_rows=len(task.rows.train),
        held_out_rows=len(task.rows.held_out),
        wanted=task.options.wanted,
        margin=task.options.margin,
        scores={family: result.arm.score for family, result in chosen.items()},
        names={family: result.way.name for family, result in chosen.items()},
        pairs=pairs,
        curve=measured.tunes.curve if trained else None,
        adapter_bits=BITS_PER_PARAMETER * trained[0].parameters if trained else None,
        answer_bits=_answer_bits(task, trained),
    )
    evidence = evidence.model_copy(update={"break_even": _break_even(evidence, costs, task, trained)})
    findings = judge(evidence)
    names = {result.way.name for result in held_out}
    validation = (*measured.untuned.validation, *measured.tunes.validation)
    return DecideReport(
        name=task.name,
        base=task.base,
        dataset_digest=task.dataset_digest,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        evidence=evidence,
        validation=tuple(each.arm.model_copy(update={"chosen": each.way.name in names}) for each in validation),
        held_out=tuple(each.arm.model_copy(update={"chosen": True}) for each in held_out),
        costs=tuple(costs.values()),
        collect=_collect(task, measured),
        findings=findings,
        recommendation=recommend(evidence, findings),
        left_out=budget.left_out,
        calls_per_day=prices.calls_per_day,
        seconds=budget.spent,
    )


def _task(recipe: Recipe, grounds: Grounds, dataset: StoredDataset, options: DecideOptions) -> Task:
    manifest = dataset.manifest
    if "test" not in manifest.splits:
        fix = "give prepare.split.test a share above 0"
        raise RecipeError([Problem("there are no test rows to judge by", field="prepare.split", fix=fix)])
    if manifest.shape == "text":
        fix = "decide works on rows with answers"
        raise RecipeError([Problem("plain text has no answers to compare", field="prepare.sources", fix=fix)])
    metric = gate_metric(recipe, options.metric)
    rows = Rows(
        train=wanted_rows(grounds.dataset.examples("train")),
        validation=_drawn(wanted_rows(grounds.dataset.examples("validation")), options),
        held_out=_drawn(wanted_rows(dataset.examples("test")), options),
        labels=manifest.labels,
        system=manifest.system_prompt,
    )
    wanted = options.wanted if options.wanted is not None else gate_wants(recipe.gate, metric)
    tokens = manifest.splits["train"].trained_tokens
    complete = options.model_copy(update={"wanted": wanted})
    confidence = recipe.evaluate.confidence
    return Task(recipe.name, grounds.base.name, manifest.digest, metric, rows, complete, confidence, tokens)


def _drawn(rows: tuple[Example, ...], options: DecideOptions) -> tuple[Example, ...]:
    """All rows, or `options.rows` of them drawn with the seed, in their stored order."""
    if not options.rows or len(rows) <= options.rows:
        return rows
    places = np.random.default_rng(options.seed).choice(len(rows), options.rows, replace=False)
    return tuple(rows[int(place)] for place in sorted(places))


def gate_wants(gate: GateSpec, metric: str) -> float | None:
    """The score of the tune that a rule (min_score, say) asks for on all of the dataset's own rows."""
    asked = (rule for rule in map(load_rule, gate.rules) if isinstance(rule, AtLeast))
    rows = (rule for rule in asked if (rule.metric, rule.model, rule.suite, rule.slice) == (metric, "tuned", "", ""))
    return next((rule.at_least for rule in rows), None)


async def _untuned(grounds: Grounds, task: Task, place: Path, folder: Path, around: tuple[Budget, Progress]) -> Untuned:
    options = task.options
    chunks = read_chunks(options.documents) if options.documents else ()
    embedder = load_embedder(options.embeddings, folder, grounds.base.path)
    async with serving_engine(grounds) as engine:
        return await measure_untuned(_lab(grounds, task, place, engine, around), task.rows, options, embedder, chunks)


async def _tuned(
    grounds: Grounds, task: Task, place: Path, trained: Sequence[Trained], around: tuple[Budget, Progress]
) -> TunesMeasured:
    async with serving_engine(grounds) as engine:
        return await measure_tunes(_lab(grounds, task, place, engine, around), task.rows, trained, task.options)


def _lab(grounds: Grounds, task: Task, place: Path, engine: Engine, around: tuple[Budget, Progress]) -> Lab:
    budget, progress = around
    identity = digest_json([grounds.base.digest, grounds.renderer.template_digest, engine.precision])
    return Lab(
        spec=grounds.recipe.evaluate.model_copy(update={"limit": 0}),
        metric=task.metric,
        labels=task.rows.labels,
        model=grounds.base.name,
        identity=identity,
        folder=place / "arms",
        engine=engine,
        renderer=grounds.renderer,
        budget=budget,
        progress=progress,
    )


def _tune(
    grounds: Grounds, around: tuple[Shared, Path, Progress], rows: Sequence[Example], chain: int, epochs: int
) -> Trained:
    """The finished tune; how long it took is kept from the time when it was made."""
    shared, place, progress = around
    dataset = store_subset(grounds, rows, chain)
    progress.say(f"tuning on {len(rows):,} of {grounds.dataset.manifest.splits['train'].rows:,} training rows")
    began = time.perf_counter()
    record = train_one(_for_epochs(grounds.recipe, epochs), grounds, shared, progress, dataset)
    found = Trained(
        rows=len(rows),
        chain=chain,
        run_id=record.id,
        adapter=record.adapter_digest,
        folder=adapter_folder(record),
        seconds=max(record.seconds, time.perf_counter() - began),
        steps=record.steps,
        parameters=record.trainable_parameters,
        start_loss=record.start_validation_loss,
    )
    file = place / "tunes" / f"{record.id}.json"
    known = read_value(file, Trained)
    if known is not None and known.adapter == found.adapter:
        return found.model_copy(update={"seconds": known.seconds})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_value(file, found)
    return found


def _finished(grounds: Grounds, rows: Sequence[Example], chain: int, epochs: int) -> bool:
    return finished(_for_epochs(grounds.recipe, epochs), grounds, store_subset(grounds, rows, chain))


def _for_epochs(recipe: Recipe, epochs: int) -> Recipe:
    changed = recipe.train.model_copy(update={"epochs": epochs, "trackers": ()})
    return recipe.model_copy(update={"train": changed})


def _answer_bits(task: Task, trained: Sequence[Trained]) -> float | None:
    """What the base does not know of the answers: their tokens times its loss on the validation rows, in bits."""
    loss = trained[0].start_loss if trained else None
    return None if loss is None else task.trained_tokens * loss / math.log(2)


def _break_even(
    evidence: Evidence, costs: dict[Family, Cost], task: Task, trained: Sequence[Trained]
) -> BreakEven | None:
    """Of a tune on all rows with the passes of the largest small one, against the best way without a tune."""
    rival = rival_of(evidence)
    if rival is None or "tuned" not in costs or not trained:
        return None
    seconds = trained[0].seconds * len(task.rows.train) / trained[0].rows
    return break_even(costs["tuned"], costs[rival], seconds, task.options.prices)


def _collect(task: Task, measured: Measured) -> tuple[Collect, ...]:
    """From the errors of the largest tune on the validation rows, else of the best way that was measured there."""
    results = measured.tunes.validation or measured.untuned.validation
    best = measured.tunes.validation[0] if measured.tunes.validation else max(results, key=lambda each: each.value)
    answers = [row.conversation.reference for row in task.rows.train]
    more = more_rows_help(measured.tunes.curve)
    general = (Collect(kind="more rows of every kind", why=more),) if more else ()
    return (*general, *rows_to_collect(best.contestant, answers, task.rows.labels))
