"""Measuring a run: its contestants on one engine, asked the held-out rows and the recipe's suites."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tunesmith import __version__
from tunesmith.engine.backend import start_engine
from tunesmith.errors import Problem, RecipeError
from tunesmith.evaluate.answer_store import FOLDER as ANSWERS_FOLDER
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.engine_subject import Served
from tunesmith.evaluate.judges import require_judges
from tunesmith.evaluate.stage import EvaluationInput, evaluate
from tunesmith.evaluate.suite import load_suite
from tunesmith.evaluate.suites_stage import run_suites
from tunesmith.models.device import resolve_device
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, resolve_precision
from tunesmith.progress import Progress
from tunesmith.recipes import suite_file
from tunesmith.release.stage import ADAPTER_FOLDER
from tunesmith.types.recipe import EvaluateSpec, PluginSpec
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord
from tunesmith.types.suite import Suite

__all__ = ["ANSWERS_FOLDER", "Measured", "computed_in", "measure", "measuring_engine", "suites_of"]


class Measured(NamedTuple):
    """A base and a run's adapter on a device, and the home that keeps the answers to suites."""

    base: BaseFiles
    record: RunRecord
    device: str
    home: Path


async def measure(
    spec: EvaluateSpec, measured: Measured, subject: EvaluationInput, progress: Progress
) -> EvaluationReport:
    """All contestants of `subject` on the held-out rows, then on the suites."""
    base, record, device, home = measured
    precision = computed_in(device)
    progress.say(f"starting the engine in {precision}")
    engine = start_engine(measuring_engine(spec.concurrency, device), base.path)
    renderer = Renderer(base.path)
    digests = {"base": base.digest, "template": record.template_digest, "precision": precision}
    served = Served(engine, renderer, record.base, None, {**digests, "tunesmith": __version__})
    try:
        await engine.load_adapter(record.adapter_digest, Path(record.path) / ADAPTER_FOLDER)
        report = await evaluate(spec, subject, engine=engine, renderer=renderer, progress=progress)
        answers = AnswerStore(home / ANSWERS_FOLDER)
        suites = await run_suites(spec, subject, served=served, progress=progress, answers=answers)
        return report.model_copy(update={"suites": suites})
    finally:
        await engine.close()


def suites_of(spec: EvaluateSpec, folder: Path) -> tuple[Suite, ...]:
    """The suites that `spec` names, relative to `folder`. Raises RecipeError with every problem of one that cannot be
    read or judged, or when two have one name.
    """
    suites = tuple(load_suite(suite_file(written, folder)) for written in spec.suites)
    names = [suite.name for suite in suites]
    if len(set(names)) < len(names):
        raise RecipeError([Problem(f"two suites have one name: {', '.join(names)}", field="evaluate.suites")])
    for suite in suites:
        require_judges(suite, spec.compare, server=False)
    return suites


def computed_in(device: str) -> str:
    """The engine's precision on `device`, and the kind of device where it is not the processor: both change sums."""
    place = resolve_device(device)
    return resolve_precision("auto", place) + ("" if place.type == "cpu" else f" on {place.type}")


def measuring_engine(concurrency: int, device: str) -> PluginSpec:
    """The engine that serves, with room to keep a row's prompt until its reference is scored."""
    options = {"device": device, "max_running": concurrency, "kv_tokens": 24576, "prefix_tokens": 12288}
    return PluginSpec.model_validate({"name": "embedded", **options})
