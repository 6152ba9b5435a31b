"""Several runs one after the other on one base in one process, each ending with the bytes it would have alone.

They go one after the other, not side by side: a processor's product of several runs' rows at once rounds otherwise
than of each run's alone, and what one run prepares is what the next one takes over (`tunesmith.train.shared`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from tunesmith.errors import Problem, RecipeError, TunesmithError
from tunesmith.models.attach import METHODS
from tunesmith.models.template import Renderer
from tunesmith.plugins import load
from tunesmith.progress import Progress
from tunesmith.train.finish import TrainingInput
from tunesmith.train.groups import OBJECTIVES, require_shape, require_validation
from tunesmith.train.memory import short_collections
from tunesmith.train.rollouts import rollouts_for
from tunesmith.train.run_folder import run_folder
from tunesmith.train.shared import Shared
from tunesmith.types.base import digest_json
from tunesmith.types.recipe import PluginSpec, TrainSpec
from tunesmith.types.run import RunRecord
from tunesmith.types.tuning import GridPoint, Tuned, TuneReport

__all__ = ["as_alone", "require_sound", "train_grid"]


def require_sound(points: Sequence[GridPoint], given: TrainingInput) -> None:
    """Raise RecipeError with everything that would stop one of `points`, found without loading a weight."""
    found: dict[Problem, None] = {}
    validation = given.dataset.manifest.splits.get("validation")
    renderer = Renderer(given.base.path)
    for point in points:
        spec = point.recipe.train
        objective, method = _plugin(OBJECTIVES, spec.objective), _plugin(METHODS, spec.method)
        checks: list[Callable[[], object]] = [
            partial(require_shape, objective, spec.objective.name, given.dataset.manifest),
            partial(require_validation, spec, validation.rows if validation else 0),
            partial(rollouts_for, spec, objective, method, (given.tools, renderer)),
            partial(run_folder, spec, given),
        ]
        for check in checks:
            try:
                check()
            except RecipeError as error:
                found |= dict.fromkeys(error.problems)
            except TunesmithError as error:
                found[Problem(error.message, field="train", fix=error.hint)] = None
    if found:
        raise RecipeError(list(found), message="The grid cannot be trained:")


def train_grid(
    points: Sequence[GridPoint],
    given: TrainingInput,
    train_one: Callable[[GridPoint, Shared], RunRecord],
    progress: Progress,
) -> TuneReport:
    """Train every point by `train_one`; one that fails leaves the others alone.

    Raises Interrupted; what is finished then is reused by the next call.
    """
    began = time.perf_counter()
    shared = Shared()
    outcomes: dict[int, Tuned] = {}
    with short_collections():
        for count, index in enumerate(_order(points), start=1):
            point = points[index]
            progress.say(f"adapter {count} of {len(points)}: {_label(point)}")
            outcomes[index] = _attempt(point, run_folder(point.recipe.train, given)[0].name, train_one, shared)
            if failure := outcomes[index].failure:
                progress.say(f"adapter {count} of {len(points)} failed: {failure}")
    tuned = tuple(outcomes[index] for index in range(len(points)))
    best, choice = _best(points, tuned)
    return TuneReport(points=tuned, best=best, choice=choice, shared=shared.reused, seconds=time.perf_counter() - began)


def _attempt(
    point: GridPoint, run_id: str, train_one: Callable[[GridPoint, Shared], RunRecord], shared: Shared
) -> Tuned:
    began = time.perf_counter()
    record, failure = None, None
    try:
        with as_alone():
            record = train_one(point, shared)
    except TunesmithError as error:
        failure = str(error)
    except (RuntimeError, MemoryError) as error:
        failure = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return Tuned(options=point.options, run_id=run_id, run=record, failure=failure, seconds=seconds)


@contextmanager
def as_alone() -> Iterator[None]:
    """Nothing that a run sets for the whole process reaches the next one."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _order(points: Sequence[GridPoint]) -> list[int]:
    """Indices of `points`, those together that can share most."""

    def kinship(index: int) -> tuple[str | int, ...]:
        spec = points[index].recipe.train
        return spec.precision, spec.batching, spec.objective.model_dump_json(), spec.method.model_dump_json(), index

    return sorted(range(len(points)), key=kinship)


def _best(points: Sequence[GridPoint], tuned: Sequence[Tuned]) -> tuple[str | None, str]:
    """(run id, why): the lowest validation loss, where that means the same for all points."""
    measures = {digest_json(_measure(point.recipe.train)) for point in points}
    if len(measures) > 1:
        return None, "none is best: losses of different objectives, or under different graders, do not compare"
    losses = [
        (outcome.run.best_validation_loss, outcome.run_id)
        for outcome in tuned
        if outcome.run is not None and outcome.run.best_validation_loss is not None
    ]
    if not losses:
        return None, "none is best: there is no validation loss to choose by"
    chosen = min(losses, key=lambda pair: pair[0])
    return chosen[1], "the lowest validation loss; the test split was not looked at"


def _measure(spec: TrainSpec) -> list[object]:
    """What gives a validation loss its meaning."""
    yardstick = _plugin(OBJECTIVES, spec.objective).yardstick()
    return [yardstick, spec.grader.model_dump(mode="json") if spec.grader else None]


def _label(point: GridPoint) -> str:
    return ", ".join(f"{field.removeprefix('train.')}={value}" for field, value in point.options.items())


def _plugin(folder: str, choice: PluginSpec) -> Any:
    return load(folder, choice.name).model_validate(choice.options)
