"""What everything that chooses has in common: tunes of one recipe, and measurements of them.

Choosing on the test split would spoil it, so what chooses is given a dataset that has none (`without_test`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tunesmith import pipeline
from tunesmith.engine.backend import start_engine
from tunesmith.engine.engine import Engine
from tunesmith.errors import NotFound, Problem, RecipeError
from tunesmith.evaluate.asking import PromptRenderer, prompt_messages
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput, evaluate
from tunesmith.gate.stage import load_rule
from tunesmith.measurement import measuring_engine
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, resolve_base
from tunesmith.parents import find_parent
from tunesmith.progress import Progress
from tunesmith.recipes import effective
from tunesmith.release.evidence import RECIPE_FILE
from tunesmith.settings import Settings
from tunesmith.store.datasets import StoredDataset
from tunesmith.store.runs import RUN_FILE
from tunesmith.train.finish import TrainingInput
from tunesmith.train.grid import as_alone
from tunesmith.train.metrics import METRICS_FILE
from tunesmith.train.parent import Parent
from tunesmith.train.run_folder import begun, run_folder
from tunesmith.train.shared import Shared
from tunesmith.train.stage import train as train_stage
from tunesmith.training_tools import training_tools
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example, SplitName
from tunesmith.types.recipe import EvaluateSpec, Recipe
from tunesmith.types.report import Contestant
from tunesmith.types.run import RunRecord

__all__ = [
    "Grounds",
    "Measurement",
    "adapter_folder",
    "finished",
    "gate_metric",
    "measure",
    "metrics_file",
    "open_grounds",
    "serving_engine",
    "train_one",
    "wanted_rows",
    "without_test",
]


class Grounds(NamedTuple):
    """What all trials of a recipe share; `dataset` has no test split; `parent` is what they start from, if anything."""

    recipe: Recipe
    base: BaseFiles
    dataset: StoredDataset
    home: Path
    renderer: Renderer
    parent: Parent | None = None


class Measurement(Value):
    """One contestant, the mean number of tokens of its prompts, and the seconds that all its answers took."""

    contestant: Contestant
    prompt_tokens: float
    seconds: float


class _WithoutTest(StoredDataset):
    """A dataset whose test split cannot be reached."""

    def rows(self, split: SplitName) -> Iterator[Example]:
        """The rows of another split than test. Raises NotFound for test."""
        if split not in self.manifest.splits:
            raise NotFound(f"The {split} split is out of reach here.", hint="Choose on the validation split.")
        return super().rows(split)


def without_test(dataset: StoredDataset) -> StoredDataset:
    """The same dataset under the same digest, without its test split: asking for it raises NotFound."""
    manifest = dataset.manifest
    splits = {name: split for name, split in manifest.splits.items() if name != "test"}
    digests = {name: digest for name, digest in manifest.split_digests.items() if name != "test"}
    return _WithoutTest(manifest.model_copy(update={"splits": splits, "split_digests": digests}), dataset.path)


def open_grounds(recipe: Recipe, folder: Path, settings: Settings, progress: Progress) -> Grounds:
    """The recipe's base and prepared rows. Raises RecipeError when there are no validation rows to choose by."""
    dataset = pipeline.prepare(recipe, folder, settings, progress)
    if "validation" not in dataset.manifest.splits:
        fix = "give prepare.split.validation a share above 0"
        raise RecipeError([Problem("there are no validation rows to choose by", field="prepare.split", fix=fix)])
    base = resolve_base(recipe.model, settings.home, progress)
    parent = find_parent(recipe.train, folder, settings)
    return Grounds(recipe, base, without_test(dataset), settings.home, Renderer(base.path), parent)


def gate_metric(recipe: Recipe, wanted: str = "") -> str:
    """The metric to choose by: `wanted`, or that of the first gate rule that reads one of the dataset's own rows.

    Raises RecipeError when it is not measured, or with options of its own.
    """
    measured = [each.name for each in recipe.evaluate.measured if not each.label and not each.options]
    rules = (rule for rule in recipe.gate.rules if not rule.options.get("suite"))
    judged = (name for rule in rules for name in load_rule(rule).reads().metrics)
    chosen = wanted or next((name for name in judged if name in measured), next(iter(measured), ""))
    if chosen not in measured:
        fix = f"measured without label and options: {', '.join(measured) or 'none'}"
        raise RecipeError([Problem(f"{chosen!r} is not measured", field="evaluate.metrics", fix=fix)])
    load_metric(chosen)
    return chosen


def adapter_folder(record: RunRecord) -> Path:
    """Where the adapter of a finished run lies."""
    return Path(record.path) / "adapter"


def train_one(
    recipe: Recipe, grounds: Grounds, shared: Shared, progress: Progress, dataset: StoredDataset | None = None
) -> RunRecord:
    """The finished run of `recipe` on `grounds` (or another `dataset` of the same base), as `tunesmith train` gives it.

    Raises what training raises.
    """
    data = dataset or grounds.dataset
    given = _given(recipe, grounds, data)._replace(tools=training_tools(grounds.base), shared=shared)
    place, _ = run_folder(recipe.train, given)
    place.mkdir(parents=True, exist_ok=True)
    begins = recipe.model_copy(update={"train": begun(recipe.train, given)})
    (place / RECIPE_FILE).write_text(effective(begins), encoding="utf-8")
    (place / "dataset.json").write_text(data.manifest.model_dump_json(indent=2), encoding="utf-8")
    with as_alone():
        return train_stage(recipe.train, given, progress)


def finished(recipe: Recipe, grounds: Grounds, dataset: StoredDataset) -> bool:
    """Whether `train_one` would give a run that is there already."""
    return (run_folder(recipe.train, _given(recipe, grounds, dataset))[0] / RUN_FILE).is_file()


def metrics_file(recipe: Recipe, grounds: Grounds) -> Path:
    """Where the run of `recipe` records its metrics, whether or not it has begun."""
    return run_folder(recipe.train, _given(recipe, grounds, grounds.dataset))[0] / METRICS_FILE


def _given(recipe: Recipe, grounds: Grounds, dataset: StoredDataset) -> TrainingInput:
    return TrainingInput(recipe.name, grounds.base, dataset, grounds.home, parent=grounds.parent)


@asynccontextmanager
async def serving_engine(grounds: Grounds) -> AsyncIterator[Engine]:
    """The engine that serves, on the recipe's device, with room to keep the prompts of rows in flight."""
    recipe = grounds.recipe
    engine = start_engine(measuring_engine(recipe.evaluate.concurrency, recipe.train.device), grounds.base.path)
    try:
        yield engine
    finally:
        await engine.close()


async def measure(
    spec: EvaluateSpec,
    subject: EvaluationInput,
    engine: Engine,
    renderer: PromptRenderer,
    progress: Progress,
) -> Measurement:
    """The one contestant of `subject` on its rows, asked and scored as `tunesmith evaluate` does."""
    contestant: ContestantSpec = subject.contestants[0]
    prompts = [prompt_messages(example, contestant.system_prompt) for example in subject.examples]
    tokens = sum(
        len(renderer.prompt_ids(messages, example.conversation.tools))
        for messages, example in zip(prompts, subject.examples, strict=True)
    )
    began = time.perf_counter()
    report = await evaluate(spec, subject, engine=engine, renderer=renderer, progress=progress)
    return Measurement(
        contestant=report.contestants[0],
        prompt_tokens=tokens / len(subject.examples),
        seconds=time.perf_counter() - began,
    )


def wanted_rows(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The rows whose answer is one to expect."""
    return tuple(example for example in examples if example.wanted)
