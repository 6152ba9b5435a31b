"""--backend and --backend-option: what computes the answers, and how it is set up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import overrides_of

if TYPE_CHECKING:
    from tunesmith.types.recipe import PluginSpec

__all__ = ["BackendOptions", "backend_spec"]

BackendOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--backend-option",
        metavar="NAME=VALUE",
        help="An option of the backend, for example --backend-option urls=http://gpu1:8000/v1. Repeatable.",
    ),
]


def backend_spec(name: str, device: str, options: Sequence[str] | None) -> PluginSpec:
    """The backend `name` with the options given as NAME=VALUE; lists and objects as JSON.

    Only the embedded backend computes on a device of its own. Raises RecipeError with all options that are not
    acceptable, NotFound for an unknown backend.
    """
    from tunesmith.engine.backend import backend_of
    from tunesmith.errors import Problem, RecipeError
    from tunesmith.types.recipe import PluginSpec

    given = {field: _value(text) for field, text in overrides_of(list(options or ()), "--backend-option").items()}
    if name == "embedded":
        given = {"device": device} | given
    elif device != "auto":
        fix = "leave it out; the backend's own options say where it computes"
        raise RecipeError(
            [Problem(f"--device {device} has no effect with --backend {name}", fix=fix)],
            message="The server cannot be started with these options.",
        )
    spec = PluginSpec.model_validate({"name": name, **given})
    backend_of(spec)
    return spec


def _value(text: str) -> Any:
    """Lists and objects are written as JSON; anything else is read as the option's own kind."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
