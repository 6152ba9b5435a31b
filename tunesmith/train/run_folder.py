"""Where a run lies: in a folder named by all that makes it, so that the same run is found again and not made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith import plugins
from tunesmith.errors import TrainingFailed
from tunesmith.train.finish import TrainingInput
from tunesmith.train.groups import OBJECTIVES
from tunesmith.train.objective import Objective
from tunesmith.train.parent import inherited, require_fit
from tunesmith.train.placement import placement_of
from tunesmith.types.base import digest_json
from tunesmith.types.recipe import PluginSpec, TrainSpec

__all__ = ["begun", "run_folder"]

TRAIN_VERSION = 1
_NOT_DIGESTED = frozenset(
    {"device", "attention", "parallel", "keep_epochs", "must_improve", "start_from", "validate_every"}
)


def begun(spec: TrainSpec, given: TrainingInput) -> TrainSpec:
    """`spec` as it is trained: with the method of the adapter that it starts from, if it does.

    Raises RecipeError when that adapter belongs to another base or template, or contradicts the method.
    """
    if (spec.start_from is None) != (given.parent is None):
        raise TrainingFailed("The recipe and what was given differ in the start.", hint="Use: tunesmith train RECIPE")
    if given.parent is None:
        return spec
    require_fit(given.parent, (given.base.name, given.base.digest), given.dataset.manifest.proof.template_digest)
    return inherited(spec, given.parent)


def run_folder(spec: TrainSpec, given: TrainingInput) -> tuple[Path, str]:
    """(run directory, run digest): the same input and options always lead to the same directory.

    An adapter that training starts from counts by its content, not by its name. Raises what `begun` raises.
    """
    spec = begun(spec, given)
    digest = digest_json(
        [
            TRAIN_VERSION,
            given.base.digest,
            given.dataset.manifest.digest,
            spec.model_dump(mode="json", exclude=set(_NOT_DIGESTED)),
            *([{"keep_epochs": spec.keep_epochs}] if spec.keep_epochs else []),
            *([] if spec.must_improve else [{"must_improve": False}]),
            *([{"validate_every": spec.validate_every}] if spec.validate_every else []),
            *([{"parent": given.parent.digest}] if given.parent else []),
            *placement_of(spec).digested,
            *_objective(spec.objective).depends_on(given.home),
        ]
    )
    return given.home / "runs" / f"{given.name}-{digest[:12]}", digest


def _objective(choice: PluginSpec) -> Objective:
    plugin: Any = plugins.load(OBJECTIVES, choice.name).model_validate(choice.options)
    if not isinstance(plugin, Objective):
        raise TypeError(f"{OBJECTIVES}.{choice.name} is not an Objective")
    return plugin
