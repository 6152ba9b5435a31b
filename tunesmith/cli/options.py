"""Options that several commands share, and how a recipe comes from them."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from tunesmith.settings import Settings
    from tunesmith.store.keys import Session
    from tunesmith.types.recipe import Recipe

__all__ = [
    "AsJson",
    "Changes",
    "RecipePath",
    "open_database",
    "options_from",
    "overrides_of",
    "read_recipe",
    "read_settings",
]

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout and nothing else there.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change one field, for example --set train.epochs=3. Repeatable."
    ),
]

Fields = TypeVar("Fields", bound=tuple[Any, ...])


def options_from(fields: type[Fields]) -> Callable[[Callable[[Fields], None]], Callable[..., None]]:
    """Decorator of a command that takes one NamedTuple: its options are the tuple's fields (`Annotated` for typer)."""

    def decorate(function: Callable[[Fields], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            function(fields(**given))

        defaults: dict[str, Any] = getattr(fields, "_field_defaults", {})
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, inspect.Parameter.empty),
                annotation=hint,
            )
            for name, hint in get_type_hints(fields, include_extras=True).items()
        ]
        vars(command).update(__signature__=inspect.Signature(parameters))
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


def read_recipe(path: Path, changes: list[str] | None) -> Recipe:
    """The checked recipe with the changes of `--set` applied. Raises RecipeError with all problems."""
    from tunesmith.recipes import load_recipe

    return load_recipe(path, overrides_of(changes))


def overrides_of(changes: list[str] | None, option: str = "--set") -> dict[str, str]:
    """Field -> text of what was given with `option`. Raises RecipeError with all that have no value."""
    from tunesmith.errors import Problem, RecipeError

    pairs = [change.partition("=") for change in changes or ()]
    wrong = [
        Problem(f"{field!r} has no value", file=option, fix="write FIELD=VALUE") for field, sign, _ in pairs if not sign
    ]
    if wrong:
        raise RecipeError(wrong)
    return {field.strip(): value.strip() for field, _, value in pairs}


@contextmanager
def open_database() -> Iterator[Session]:
    """One transaction on the database of the settings."""
    from tunesmith.store.database import Database

    database = Database(read_settings().database)
    try:
        with database.transaction() as session:
            yield session
    finally:
        database.close()


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
