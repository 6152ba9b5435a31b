"""Options that several commands share, and how a recipe comes from them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.settings import Settings
    from tunesmith.types.recipe import Recipe

__all__ = ["AsJson", "Changes", "RecipePath", "overrides_of", "read_recipe", "read_settings"]

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout and nothing else there.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change one field, for example --set train.epochs=3. Repeatable."
    ),
]


def read_recipe(path: Path, changes: list[str] | None) -> Recipe:
    """The checked recipe with the changes of `--set` applied. Raises RecipeError with all problems."""
    from tunesmith.recipes import load_recipe

    return load_recipe(path, overrides_of(changes))


def overrides_of(changes: list[str] | None) -> dict[str, str]:
    """Field -> text of `--set`. Raises RecipeError with all that have no value."""
    from tunesmith.errors import Problem, RecipeError

    pairs = [change.partition("=") for change in changes or ()]
    wrong = [
        Problem(f"{field!r} has no value", file="--set", fix="write FIELD=VALUE")
        for field, sign, _ in pairs
        if not sign
    ]
    if wrong:
        raise RecipeError(wrong)
    return {field.strip(): value.strip() for field, _, value in pairs}


def read_settings() -> Settings:
    """The machine's settings, from the environment (TUNESMITH_HOME and others); applies the thread count."""
    from tunesmith.settings import Settings
    from tunesmith.threads import limit_threads

    settings = Settings()
    limit_threads(settings.threads)
    _quiet_libraries()
    return settings


def _quiet_libraries() -> None:
    """Keep bars and notes of the libraries off the screen, unless their own environment variables ask for them.

    They are meant for programmers ("... is deprecated") and would break Tunesmith's own bars. Their errors still come
    as exceptions.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module=r"(accelerate|peft|torch|transformers)\b")
