"""The contract of an engine backend: options that can start an engine. Plugins lie in `tunesmith.engine.backends`."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from tunesmith import plugins
from tunesmith.engine.engine import Engine
from tunesmith.errors import TunesmithError
from tunesmith.types.base import Value
from tunesmith.types.recipe import PluginSpec

__all__ = ["FOLDER", "Backend", "start_engine"]

FOLDER = "tunesmith.engine.backends"


class Backend(Value):
    """A frozen set of options that can start an engine."""

    @abstractmethod
    def start(self, base_path: Path) -> Engine:
        """Start an engine for the base model in the folder `base_path`; blocks until it can answer.

        Raises ModelError when this backend cannot serve the model.
        """


def start_engine(spec: PluginSpec, base_path: Path) -> Engine:
    """Start the backend that `spec` names with its options.

    Raises NotFound for an unknown name, ModelError as `Backend.start` does.
    """
    found = plugins.load(FOLDER, spec.name)
    if not issubclass(found, Backend):
        raise TunesmithError(f"{found.__module__} must export a class derived from {Backend.__module__}.Backend.")
    return found.model_validate(spec.options).start(base_path)
