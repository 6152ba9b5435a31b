"""One process of a search: draws trials, carries them out, tells the study. Any number of them may work on one study.

A trial is trained and measured like any other run, on a dataset without a test split (`tunesmith.trials`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tunesmith.errors import TunesmithError
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput
from tunesmith.progress import Progress
from tunesmith.recipes import load_recipe
from tunesmith.search.pruning import Pruned, Watching
from tunesmith.search.report import SearchReport, SearchTrial
from tunesmith.search.space import Dimension, read_space
from tunesmith.search.storage import close_storage, open_storage, open_study, require_optuna, sampler_of
from tunesmith.settings import Settings
from tunesmith.train.shared import Shared
from tunesmith.trials import (
    Grounds,
    adapter_folder,
    gate_metric,
    measure,
    metrics_file,
    open_grounds,
    serving_engine,
    train_one,
    wanted_rows,
)
from tunesmith.types.base import digest_json
from tunesmith.types.recipe import Recipe
from tunesmith.types.report import Score
from tunesmith.types.run import RunRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Order", "Searching"]


class Order(NamedTuple):
    """What is searched: all that another process needs to take part."""

    path: Path
    overrides: Mapping[str, str]
    axes: Sequence[str]
    metric: str
    seed: int
    prunes: bool


class Searching:
    """A study and what its trials share.

    Raises RecipeError with every problem of the space, MissingDependency without Optuna, DatabaseError.
    """

    def __init__(self, order: Order, settings: Settings, progress: Progress) -> None:
        require_optuna()
        self.order, self.progress = order, progress
        self.recipe, self.space = read_space(order.path, order.overrides, order.axes)
        self.metric = gate_metric(self.recipe, order.metric)
        self.better = load_metric(self.metric).better
        self.grounds: Grounds = open_grounds(self.recipe, order.path.parent, settings, progress)
        self.rows = wanted_rows(self.grounds.dataset.examples("validation"))
        self.name = _study_name(self.recipe, self.grounds, self.space, (self.metric, order.seed, self.prunes))
        way: Literal["maximize", "minimize"] = "maximize" if self.better == "higher" else "minimize"
        self._storage = open_storage(settings)
        self.study = open_study(self._storage, self.name, way, self.prunes)
        self.shared = Shared()

    @property
    def prunes(self) -> bool:
        """Whether losses of all trials mean the same, so that they may be stopped by them."""
        return self.order.prunes and not any(each.field.startswith("train.objective") for each in self.space)

    def close(self) -> None:
        """Close the connections to the database."""
        close_storage(self._storage)

    def begin(self) -> None:
        """Let the recipe's own values be the first trial, where the space holds them."""
        if self.study.get_trials(deepcopy=False):
            return
        own = {each.field: each.own(_at(self.recipe, each.field)) for each in self.space}
        if all(value is not None for value in own.values()):
            self.study.enqueue_trial(own, skip_if_exists=True)

    def left_behind(self) -> list[int]:
        """Numbers of the trials that a process which is gone was carrying out. Call it while nobody else works."""
        return [trial.number for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]

    def finished(self) -> int:
        """How many trials have ended, whatever way."""
        return sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def draw(self) -> int:
        """The number of a new trial."""
        self.study.sampler = sampler_of(self.order.seed, len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask()
        self._overrides(trial)
        return trial.number

    def carry_out(self, number: int) -> None:
        """Train and measure trial `number`, or go on with it, and tell the study how it ended."""
        import optuna

        self.study.sampler = sampler_of(self.order.seed, number)
        frozen = self.study.get_trials(deepcopy=False)[number]
        trial = optuna.trial.Trial(self.study, frozen._trial_id)
        chosen = self._overrides(trial)
        recipe = load_recipe(self.order.path, {**self.order.overrides, **chosen})
        began = time.perf_counter()
        failed = optuna.trial.TrialState.FAIL
        try:
            record = self._train(trial, recipe)
            score = asyncio.run(self._measure(recipe, record))
            trial.set_user_attr("run", record.id)
            trial.set_user_attr("validation_loss", record.best_validation_loss)
            trial.set_user_attr("standard_error", score.standard_error)
            trial.set_user_attr("seconds", time.perf_counter() - began)
            if score.value is None:
                trial.set_user_attr("failure", f"{self.metric} could score no row")
            self.study.tell(trial, score.value, state=failed if score.value is None else None)
        except Pruned:
            trial.set_user_attr("seconds", time.perf_counter() - began)
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except TunesmithError as error:
            trial.set_user_attr("failure", str(error))
            self.study.tell(trial, state=failed)

    def report(self) -> SearchReport:
        """All trials so far."""
        trials = tuple(_trial(each) for each in self.study.get_trials(deepcopy=False) if each.state.name != "WAITING")
        complete = [(trial.value, trial.number) for trial in trials if trial.value is not None]
        sign = 1 if self.better == "higher" else -1
        best = max(complete, key=lambda pair: (sign * pair[0], -pair[1]))[1] if complete else None
        pruning = "validation loss of each epoch, by successive halving" if self.prunes else "nothing is stopped early"
        return SearchReport(
            study=self.name,
            metric=self.metric,
            better=self.better,
            rows=len(self.rows),
            trials=trials,
            best=best,
            pruning=pruning,
        )

    def _overrides(self, trial: Trial) -> dict[str, str]:
        return {dimension.field: dimension.draw(trial) for dimension in self.space}

    def _train(self, trial: Trial, recipe: Recipe) -> RunRecord:
        def behind(epoch: int, loss: float) -> bool:
            reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
            if epoch not in reported:
                # The study's direction is the metric's; a loss is turned round where more of it is better.
                trial.report(-loss if self.better == "higher" else loss, epoch)
                return trial.should_prune()
            return False

        watched = Watching(self.progress, metrics_file(recipe, self.grounds), behind)
        return train_one(recipe, self.grounds, self.shared, watched if self.prunes else self.progress)

    async def _measure(self, recipe: Recipe, record: RunRecord) -> Score:
        spec = recipe.evaluate.model_copy(update={"split": "validation", "limit": 0, "metrics": (self.metric,)})
        contestant = ContestantSpec(
            name="tuned", model=recipe.model.base, adapter_digest=record.adapter_digest, system_prompt=True
        )
        manifest = self.grounds.dataset.manifest
        subject = EvaluationInput(
            contestants=(contestant,), examples=self.rows, labels=manifest.labels, dataset_digest=manifest.digest
        )
        async with serving_engine(self.grounds) as engine:
            await engine.load_adapter(record.adapter_digest, adapter_folder(record))
            found = await measure(spec, subject, engine, self.grounds.renderer, self.progress)
        return found.contestant.scores[self.metric]


def _study_name(recipe: Recipe, grounds: Grounds, space: Sequence[Dimension], asked: tuple[str, int, bool]) -> str:
    """The recipe's name and a digest of all that a trial's outcome depends on beside its own values."""
    train = recipe.train.model_dump(mode="json", exclude={"start_from"})
    start = [grounds.parent.digest] if grounds.parent else []
    spread = [[type(each).__name__, *each] for each in space]
    evaluated = recipe.evaluate.model_dump(mode="json", exclude={"compare", "split", "limit"})
    parts = [grounds.base.digest, grounds.dataset.manifest.digest, train, evaluated, spread, *asked, *start]
    return f"{recipe.name}-{digest_json(parts)[:12]}"


def _at(recipe: Recipe, field: str) -> object:
    node: Any = recipe.model_dump(mode="json")
    for part in field.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _trial(frozen: FrozenTrial) -> SearchTrial:
    states: Any = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    told = frozen.user_attrs
    state = states.get(frozen.state.name, "running")
    return SearchTrial(
        number=frozen.number,
        state=state,
        options={name: json.loads(value) if isinstance(value, str) else value for name, value in frozen.params.items()},
        value=frozen.value if state == "complete" else None,
        standard_error=told.get("standard_error"),
        validation_loss=told.get("validation_loss"),
        epochs=max(frozen.intermediate_values, default=0),
        run_id=told.get("run", ""),
        seconds=told.get("seconds"),
        failure=told.get("failure", ""),
    )
