"""The steps that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError
from tunesmith.prepare.step import ReadsFiles, RowStep, TableStep
from tunesmith.types.recipe import PluginSpec

__all__ = ["FOLDER", "load_steps", "step_files"]

FOLDER = "tunesmith.prepare.steps"


def load_steps(specs: Sequence[PluginSpec]) -> tuple[tuple[str, RowStep | TableStep], ...]:
    """The names and steps that the recipe lists, with their options.

    Raises NotFound for an unknown name and RecipeError for a plugin that is no step.
    """
    steps: list[tuple[str, RowStep | TableStep]] = []
    for index, spec in enumerate(specs):
        field = f"prepare.steps.{index}"
        kind = plugins.load(FOLDER, spec.name)
        try:
            step = kind.model_validate(spec.options)
        except ValidationError as error:
            raise RecipeError([_option_problem(detail, field) for detail in error.errors()]) from None
        if not isinstance(step, RowStep):
            fix = "write its class as tunesmith.prepare.step describes"
            raise RecipeError([Problem(f"{spec.name!r} is no step: it has no method open", field=field, fix=fix)])
        steps.append((spec.name, step))
    return tuple(steps)


def step_files(steps: Sequence[tuple[str, RowStep | TableStep]], folder: Path) -> tuple[Path, ...]:
    """The files that the steps' options name: what is in them decides on rows too."""
    return tuple(path for _, step in steps if isinstance(step, ReadsFiles) for path in step.files(folder))


def _option_problem(detail: ErrorDetails, field: str) -> Problem:
    place = ".".join(map(str, (field, *detail["loc"])))
    return Problem(
        f"{detail['msg']}, found {detail['input']!r}", field=place, fix="tunesmith plugins steps lists the options"
    )
