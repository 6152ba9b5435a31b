"""A grid of training options: `--grid train.seed=1,2 --grid train.method.rank=8,16` are four recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tunesmith.documents import plain
from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.recipes import load_recipe
from tunesmith.types.recipe import Recipe, TrainSpec
from tunesmith.types.tuning import GridPoint

__all__ = ["load_grid", "values_of"]

_OPTION = "--grid"
Loader = Callable[[Path, Mapping[str, str]], Recipe]


def load_grid(
    path: Path, overrides: Mapping[str, str], axes: Sequence[str], load: Loader = load_recipe
) -> tuple[GridPoint, ...]:
    """The checked recipe at `path` once for each combination of the values on `axes`, the last axis changing fastest.

    An axis is `FIELD=VALUE,VALUE,...` with YAML values and a field of `train`. `overrides` hold for all points.
    Combinations that come to the same recipe are one point. `load` reads each.

    Raises RecipeError with all problems of all points, each once.
    """
    values, problems = _read(axes, overrides)
    if problems:
        raise RecipeError(problems, message="The grid cannot be used:")
    points: dict[str, GridPoint] = {}
    found: dict[Problem, None] = {}
    summary = ""
    for combination in product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        try:
            recipe = load(path, {**overrides, **chosen})
        except RecipeError as error:
            found |= dict.fromkeys(_placed(problem, values) for problem in error.problems)
            summary = summary or error.message.splitlines()[0]
            continue
        options = {field: _value(text) for field, text in chosen.items()}
        points.setdefault(recipe.content_digest(), GridPoint(options=options, recipe=recipe))
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise RecipeError(list(found), message=f"The recipe {path} with this grid has {count}:")
    return tuple(points.values())


def _read(axes: Sequence[str], overrides: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Field -> texts of its values, and what is wrong with the axes themselves."""
    values: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for axis in axes:
        field, sign, text = (part.strip() for part in axis.partition("="))
        texts = tuple(_split(text)) if sign else ()
        problem = _problem(field, texts, {*values}, overrides)
        if problem is None:
            values[field] = texts
        else:
            problems.append(problem)
    return values, problems


def _problem(field: str, texts: Sequence[str], before: set[str], overrides: Mapping[str, str]) -> Problem | None:
    if not field.startswith("train."):
        close = nearest(f"train.{field}", [f"train.{name}" for name in TrainSpec.model_fields])
        near = f"did you mean {close!r}? " if close else ""
        fix = f"{near}a grid varies train.*; set other fields for all points with --set"
        return Problem("is no option of training", file=_OPTION, field=field, fix=fix)
    if not texts:
        return Problem(
            "has no values", file=_OPTION, field=field, fix="write FIELD=VALUE,VALUE; quote text with commas"
        )
    if field in before:
        return Problem("is there twice", file=_OPTION, field=field, fix="write all its values in one --grid")
    if field in overrides:
        return Problem("is there in --set too", file=_OPTION, field=field, fix="keep one of the two")
    return None


def _split(text: str) -> Iterator[str]:
    """The values in `text`, divided at commas outside of brackets and quotes; none when it is not YAML."""
    try:
        node = YAML().compose(f"[{text}]")
    except YAMLError:
        return
    for item in node.value:
        yield text[item.start_mark.index - 1 : item.end_mark.index - 1]


def values_of(text: str) -> list[Any]:
    """The values in `text`, divided at commas outside of brackets and quotes; none when it is not YAML."""
    return [_value(each) for each in _split(text)]


def _value(text: str) -> Any:
    return plain(YAML(typ="safe").load(text))


def _placed(problem: Problem, fields: Mapping[str, Any]) -> Problem:
    """`problem` at `--grid` when it is about one of its fields, which stand in no line of the recipe."""
    own = problem.field is not None and any(
        problem.field == field or problem.field.startswith(f"{field}.") for field in fields
    )
    return dataclasses.replace(problem, file=_OPTION, line=None) if own else problem
