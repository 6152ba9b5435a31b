"""The contract of an engine backend: options that can start an engine. Plugins lie in `tunesmith.engine.backends`."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.engine.engine import Engine
from tunesmith.errors import Problem, RecipeError, TunesmithError, nearest
from tunesmith.types.base import Value
from tunesmith.types.recipe import PluginSpec

__all__ = ["FOLDER", "Backend", "backend_of", "start_engine"]

FOLDER = "tunesmith.engine.backends"


class Backend(Value):
    """A frozen set of options that can start an engine."""

    @abstractmethod
    def start(self, base_path: Path) -> Engine:
        """Start an engine for the base model in the folder `base_path`; blocks until it can answer.

        Raises ModelError when this backend cannot serve the model.
        """


def backend_of(spec: PluginSpec) -> Backend:
    """The backend that `spec` names with its options.

    Raises NotFound for an unknown name, RecipeError with all options that are not acceptable.
    """
    found = plugins.load(FOLDER, spec.name)
    if not issubclass(found, Backend):
        raise TunesmithError(f"{found.__module__} must export a class derived from {Backend.__module__}.Backend.")
    try:
        return found.model_validate(spec.options)
    except ValidationError as error:
        known = tuple(found.model_fields)
        problems = [_problem(spec.name, dict(detail), known) for detail in error.errors()]
        raise RecipeError(problems, message=f"The backend {spec.name} cannot be started with these options.") from error


def start_engine(spec: PluginSpec, base_path: Path) -> Engine:
    """Start the backend that `spec` names with its options.

    Raises NotFound and RecipeError as `backend_of` does, ModelError as `Backend.start` does.
    """
    return backend_of(spec).start(base_path)


def _problem(backend: str, detail: dict[str, Any], known: tuple[str, ...]) -> Problem:
    field = ".".join(map(str, detail["loc"]))
    if detail["type"] != "extra_forbidden":
        said = str(detail["msg"]).removeprefix("Value error, ")
        return Problem(f"{said}, found {detail['input']!r}", field=f"{backend}.{field}")
    close = nearest(field, known)
    meant = f"did you mean {close!r}? " if close else ""
    return Problem("there is no such option", field=f"{backend}.{field}", fix=f"{meant}allowed: {', '.join(known)}")
