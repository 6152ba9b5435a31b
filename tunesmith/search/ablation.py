"""ablate: what each option of training is worth. All combinations are tuned and measured on the validation rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith import __version__, pipeline
from tunesmith.engine.engine import Engine
from tunesmith.errors import ModelError
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.compare import compare
from tunesmith.evaluate.engine_subject import Served
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput
from tunesmith.evaluate.suites_stage import run_suites
from tunesmith.measurement import ANSWERS_FOLDER, suites_of
from tunesmith.progress import Progress
from tunesmith.settings import Settings
from tunesmith.trials import Grounds, adapter_folder, gate_metric, measure, open_grounds, serving_engine, wanted_rows
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example
from tunesmith.types.report import Better, Comparison, Contestant, Score
from tunesmith.types.suite import Suite
from tunesmith.types.tuning import GridPoint, Tuned

__all__ = ["Ablation", "Cell", "ablate"]


class Cell(Value):
    """One combination of options and what came of it; only `options`, `run_id` and `failure` where it failed.

    `scores` are on the validation rows, `suites` on the recipe's suites, `against` is the paired difference to the
    prompted base in the chosen metric. `win_rate` is the share of rows that the tune answered better than the prompted
    base, equal ones half. `latency` is the median of an answer and `peak_bytes` the highest memory of training.
    """

    options: dict[str, Any]
    run_id: str
    failure: str = ""
    scores: dict[str, Score] = {}
    suites: dict[str, dict[str, Score]] = {}
    against: Comparison | None = None
    win_rate: float | None = None
    validation_loss: float | None = None
    tokens_per_answer: float | None = None
    latency: float | None = None
    parameters: int | None = None
    adapter_bytes: int | None = None
    peak_bytes: int | None = None
    seconds: float | None = None


class Ablation(Value):
    """All combinations, in the order of the grid, and the untuned base with the recipe's prompt on the same rows.

    `best` is the place of the cell with the best score in `metric` (None: no cell has one).
    """

    name: str
    metric: str
    better: Better
    rows: int
    prompted: Contestant
    prompted_suites: dict[str, dict[str, Score]] = {}
    cells: tuple[Cell, ...]
    best: int | None

    @property
    def failed(self) -> int:
        """Cells without a finished run."""
        return sum(bool(cell.failure) for cell in self.cells)


class _Bench(NamedTuple):
    """What stays the same while adapters change."""

    grounds: Grounds
    metric: str
    rows: tuple[Example, ...]
    suites: tuple[Suite, ...]
    engine: Engine
    progress: Progress


class _Found(NamedTuple):
    contestant: Contestant
    suites: dict[str, dict[str, Score]]


def ablate(points: Sequence[GridPoint], folder: Path, settings: Settings, progress: Progress) -> Ablation:
    """Tune all `points` as `tunesmith tune` does and measure each on the validation rows; never on the test rows.

    Raises RecipeError for a grid that cannot be tuned, or without validation rows. A point that fails is reported.
    """
    recipe = points[0].recipe
    grounds = open_grounds(recipe, folder, settings, progress)
    metric = gate_metric(recipe)
    tuned = pipeline.tune(points, folder, settings, progress)
    suites = suites_of(recipe.evaluate, folder)
    found, cells = asyncio.run(_measured(grounds, (metric, suites), tuned.points, progress))
    prompted = found.contestant
    score = prompted.scores[metric]
    sign = 1 if score.better == "higher" else -1
    values = [(each.scores[metric].value, place) for place, each in enumerate(cells) if metric in each.scores]
    known = [(sign * value, -place) for value, place in values if value is not None]
    best = -max(known)[1] if known else None
    return Ablation(
        name=recipe.name,
        metric=metric,
        better=score.better,
        rows=len(prompted.predictions),
        prompted=prompted,
        prompted_suites=found.suites,
        cells=cells,
        best=best,
    )


async def _measured(
    grounds: Grounds, asked: tuple[str, tuple[Suite, ...]], tuned: Sequence[Tuned], progress: Progress
) -> tuple[_Found, tuple[Cell, ...]]:
    metric, suites = asked
    rows = wanted_rows(grounds.dataset.examples("validation"))
    async with serving_engine(grounds) as engine:
        bench = _Bench(grounds, metric, rows, suites, engine, progress)
        prompted = await _found(bench, "prompt_only", None)
        return prompted, tuple([await _cell(bench, prompted.contestant, each) for each in tuned])


async def _cell(bench: _Bench, prompted: Contestant, tuned: Tuned) -> Cell:
    run = tuned.run
    if run is None:
        return Cell(options=tuned.options, run_id=tuned.run_id, failure=tuned.failure or "it did not finish")
    try:
        await bench.engine.load_adapter(run.adapter_digest, adapter_folder(run))
    except ModelError as error:  # one that changes nothing: the others are measured all the same
        return Cell(options=tuned.options, run_id=run.id, failure=error.message)
    found, suites = await _found(bench, "tuned", run.adapter_digest)
    taken = bench.engine.adapter_bytes().get(run.adapter_digest)
    await bench.engine.unload_adapter(run.adapter_digest)
    labels = bench.grounds.dataset.manifest.labels
    pair = compare(bench.metric, found, prompted, labels, bench.grounds.recipe.evaluate.confidence)
    return Cell(
        options=tuned.options,
        run_id=run.id,
        scores=found.scores,
        suites=suites,
        against=pair,
        win_rate=None if pair is None else (pair.won + (pair.n - pair.won - pair.lost) / 2) / pair.n,
        validation_loss=run.best_validation_loss,
        tokens_per_answer=found.tokens_per_answer,
        latency=found.latency_median_seconds,
        parameters=run.trainable_parameters,
        adapter_bytes=taken,
        peak_bytes=run.actual_peak_bytes,
        seconds=run.seconds,
    )


async def _found(bench: _Bench, name: str, adapter: str | None) -> _Found:
    """What `adapter` (None: the base with the recipe's prompt) scores on the validation rows and on each suite."""
    grounds, recipe, manifest = bench.grounds, bench.grounds.recipe, bench.grounds.dataset.manifest
    spec = recipe.evaluate.model_copy(update={"split": "validation", "limit": 0})
    who = ContestantSpec(name=name, model=recipe.model.base, adapter_digest=adapter, system_prompt=True)
    subject = EvaluationInput(
        contestants=(who,),
        examples=bench.rows,
        labels=manifest.labels,
        dataset_digest=manifest.digest,
        suites=bench.suites,
        system_prompt=manifest.system_prompt,
    )
    found = await measure(spec, subject, bench.engine, grounds.renderer, bench.progress)
    digests = {"base": grounds.base.digest, "template": grounds.renderer.template_digest}
    identity = {**digests, "precision": bench.engine.precision or "", "tunesmith": __version__}
    served = Served(bench.engine, grounds.renderer, grounds.base.name, None, identity)
    answers = AnswerStore(grounds.home / ANSWERS_FOLDER)
    reports = await run_suites(spec, subject, served=served, progress=bench.progress, answers=answers)
    return _Found(found.contestant, {title: report.contestants[0].scores for title, report in reports.items()})
