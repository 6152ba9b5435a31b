"""What a search may vary: `train.learning_rate=1e-5..1e-3:log`, `train.method.rank=4..64`, `train.epochs=1,2,4`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.grids import values_of
from tunesmith.judging import load_judgeable
from tunesmith.recipes import load_recipe
from tunesmith.types.recipe import Recipe, TrainSpec

__all__ = ["Choice", "Dimension", "Range", "Suggests", "read_space"]

OPTION = "--space"
_RANGE = re.compile(r"^\s*([^\s,:\[\]{}]+?)\s*\.\.\s*([^\s,:\[\]{}]+?)\s*(?::\s*(\w+)\s*)?$")


class Suggests(Protocol):
    """The part of an Optuna trial that draws values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from low to high."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number from low to high."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any:
        """One of the choices."""


class Range(NamedTuple):
    """Numbers from `low` to `high`, whole ones where both ends are; `log`: evenly over orders of magnitude."""

    field: str
    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, trial: Suggests) -> str:
        """A value of `trial` as YAML text."""
        if self.whole:
            return json.dumps(trial.suggest_int(self.field, int(self.low), int(self.high), log=self.log))
        return json.dumps(trial.suggest_float(self.field, self.low, self.high, log=self.log))

    def corners(self) -> tuple[str, ...]:
        """Both ends as YAML text."""
        ends = (self.low, self.high)
        return tuple(json.dumps(int(end) if self.whole else end) for end in ends)

    def own(self, value: object) -> object | None:
        """`value` as a parameter of a trial, None when it is no number within."""
        inside = isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        return value if inside else None


class Choice(NamedTuple):
    """Some values, as YAML texts."""

    field: str
    texts: tuple[str, ...]

    def draw(self, trial: Suggests) -> str:
        """A value of `trial` as YAML text."""
        return str(trial.suggest_categorical(self.field, self.texts))

    def corners(self) -> tuple[str, ...]:
        """All of them."""
        return self.texts

    def own(self, value: object) -> object | None:
        """The text of `value`, None when it is none of the choices."""
        return next((text for text in self.texts if values_of(text) == [value]), None)


Dimension = Range | Choice


def read_space(path: Path, overrides: Mapping[str, str], axes: Sequence[str]) -> tuple[Recipe, tuple[Dimension, ...]]:
    """The checked recipe at `path` and the dimensions, of which every end and every choice gives a recipe.

    Raises RecipeError with all problems.
    """
    dimensions: list[Dimension] = []
    problems: list[Problem] = []
    for axis in axes:
        field, sign, text = (part.strip() for part in axis.partition("="))
        taken = {dimension.field for dimension in dimensions} | {*overrides}
        found = _dimension(field, text if sign else "", taken)
        (problems if isinstance(found, Problem) else dimensions).append(found)  # type: ignore[arg-type]
    if not axes:
        problems.append(Problem("nothing to vary", file=OPTION, fix="write --space train.learning_rate=1e-5..1e-3:log"))
    if problems:
        raise RecipeError(problems, message="The space cannot be searched:")
    recipe = load_judgeable(path, overrides)
    wrong: dict[Problem, None] = {}
    for dimension in dimensions:
        for corner in dimension.corners():
            try:
                load_recipe(path, {**overrides, dimension.field: corner})
            except RecipeError as error:
                wrong |= dict.fromkeys(dataclasses.replace(each, file=OPTION, line=None) for each in error.problems)
    if wrong:
        raise RecipeError(list(wrong), message="The space holds recipes that cannot be used:")
    return recipe, tuple(dimensions)


def _dimension(field: str, text: str, taken: set[str]) -> Dimension | Problem:
    if not field.startswith("train."):
        close = nearest(f"train.{field}", [f"train.{name}" for name in TrainSpec.model_fields])
        near = f"did you mean {close!r}? " if close else ""
        fix = f"{near}a search varies train.*; set other fields with --set"
        return Problem("is no option of training", file=OPTION, field=field, fix=fix)
    if field in taken:
        return Problem("is there twice, or in --set too", file=OPTION, field=field, fix="keep one")
    if (match := _RANGE.match(text)) is None:
        texts = tuple(json.dumps(value) for value in values_of(text))
        if len(set(texts)) < 2:
            fix = "write FIELD=LOW..HIGH, FIELD=LOW..HIGH:log or FIELD=VALUE,VALUE"
            return Problem("has nothing to choose from", file=OPTION, field=field, fix=fix)
        return Choice(field, texts)
    return _range(field, *match.groups())


def _range(field: str, low_text: str, high_text: str, scale: str | None) -> Range | Problem:
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        return Problem(f"{low_text}..{high_text} is no range of numbers", file=OPTION, field=field, fix="1e-5..1e-3")
    if scale not in (None, "log"):
        return Problem(f"{scale!r} is not known", file=OPTION, field=field, fix="allowed: log")
    if not low < high or (scale == "log" and low <= 0):
        fix = "the low end below the high end, above 0 with :log"
        return Problem(f"{low_text}..{high_text} is no range", file=OPTION, field=field, fix=fix)
    whole = all(re.fullmatch(r"[+-]?\d+", text) for text in (low_text, high_text))
    return Range(field, low, high, scale == "log", whole)
