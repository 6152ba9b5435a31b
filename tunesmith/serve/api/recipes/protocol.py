"""What the endpoints below /v1/tunesmith/recipes take and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from tunesmith.serve.body import Body
from tunesmith.types.base import Value

__all__ = ["RecipeCheck", "RecipeEntry", "RecipeProblem", "RecipeRequest"]


class RecipeRequest(Body):
    """A recipe as the text of its YAML file (at most 64 KB), whose lines the problems then name, or as an object."""

    recipe: Annotated[str, Field(max_length=64 * 1024)] | dict[str, JsonValue]


class RecipeProblem(Value):
    """One thing that is wrong: what, where (line from 1, dotted field), and what to do about it."""

    message: str
    line: int | None
    field: str | None
    fix: str | None


class RecipeCheck(Value):
    """All problems of a recipe; without any, the recipe with every default filled in, as a run would store it."""

    object: Literal["tunesmith.recipe_check"] = "tunesmith.recipe_check"
    valid: bool
    problems: tuple[RecipeProblem, ...]
    recipe: dict[str, Any] | None


class RecipeEntry(Value):
    """The effective recipe of a run, whose id is the entry's."""

    id: str
    object: Literal["tunesmith.recipe"] = "tunesmith.recipe"
    name: str
    recipe: dict[str, Any]
