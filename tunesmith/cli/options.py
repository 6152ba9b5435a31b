"""Options that several commands share, and how a recipe comes from them."""

from __future__ import annotations

import inspect
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from tunesmith.settings import Settings
    from tunesmith.store.keys import Session
    from tunesmith.types.recipe import Recipe
    from tunesmith.types.tuning import GridPoint

__all__ = [
    "UNUSABLE",
    "AsJson",
    "Changes",
    "Grid",
    "RecipePath",
    "command_line",
    "open_database",
    "options_from",
    "overrides_of",
    "read_grid",
    "read_recipe",
    "read_settings",
    "text_of",
]

UNUSABLE = "The arguments cannot be used:"
"""The first line of a refusal that names arguments, not a recipe."""

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout and nothing else there.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change one field, for example --set train.epochs=3. Repeatable."
    ),
]
Grid = Annotated[
    list[str],
    typer.Option(
        "--grid",
        metavar="FIELD=VALUE,VALUE",
        help="Values of one option of training, for example --grid train.seed=1,2. Repeatable: all combinations.",
        show_default=False,
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
    from tunesmith.cli.output import RichProgress
    from tunesmith.judging import load_judgeable

    return load_judgeable(path, overrides_of(changes), RichProgress().say)


def overrides_of(changes: list[str] | None, option: str = "--set") -> dict[str, str]:
    """Field -> text of what was given with `option`. Raises RecipeError with all that have no value."""
    from tunesmith.errors import Problem, RecipeError

    pairs = [change.partition("=") for change in changes or ()]
    wrong = [
        Problem(f"{field!r} has no value", file=option, fix="write FIELD=VALUE") for field, sign, _ in pairs if not sign
    ]
    if wrong:
        raise RecipeError(wrong, message=UNUSABLE)
    return {field.strip(): value.strip() for field, _, value in pairs}


def text_of(given: str, option: str) -> str:
    """The text itself, or that of the file behind an @. Raises RecipeError for a file that cannot be read."""
    from tunesmith.errors import Problem, RecipeError

    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            [Problem(f"cannot be read: {error}", file=given[1:], field=option)], message=UNUSABLE
        ) from error


def command_line(verb: str, recipe: Path, changes: Sequence[str] | None, *more: str) -> str:
    """The command that goes on with the same recipe: what was given with `--set` again, quoted for a shell.

    Without the changes the next stage would be of another recipe, and begin from nothing.
    """
    words = [word for change in changes or () for word in ("--set", change)]
    return shlex.join(["tunesmith", verb, str(recipe), *words, *more])


def read_grid(path: Path, changes: list[str] | None, axes: Sequence[str]) -> tuple[Settings, tuple[GridPoint, ...]]:
    """The machine's settings, and a recipe for each combination. Raises RecipeError with the problems of all."""
    from tunesmith.grids import load_grid
    from tunesmith.judging import load_judgeable

    settings = read_settings()
    return settings, load_grid(path, overrides_of(changes), axes, load_judgeable)


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
