"""Plugins: the file system is the registry.

A plural folder such as `tunesmith.gate.rules` holds one implementation per file, and the file's name is the
plugin's name. A plugin module exports exactly one class in `__all__`: a frozen `Value` whose fields are its
options and whose one method does the work. Third parties add theirs with an entry point in the group named after
the folder (`tunesmith.gate.rules`). Listing names imports nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from functools import cache

from tunesmith.errors import NotFound, TunesmithError, nearest
from tunesmith.types.base import Value

__all__ = ["FOLDERS", "load", "names"]

FOLDERS = (
    "tunesmith.models.methods",
    "tunesmith.engine.backends",
    "tunesmith.prepare.formats",
    "tunesmith.prepare.steps",
    "tunesmith.prepare.augment",
    "tunesmith.train.objectives",
    "tunesmith.train.trackers",
    "tunesmith.evaluate.metrics",
    "tunesmith.evaluate.items",
    "tunesmith.evaluate.readers",
    "tunesmith.evaluate.attacks",
    "tunesmith.gate.rules",
    "tunesmith.grade.graders",
    "tunesmith.serve.moderators",
)


def names(folder: str) -> tuple[str, ...]:
    """Names of all plugins of `folder`, built-in and from entry points, sorted. Imports none of them."""
    spec = importlib.util.find_spec(folder)
    if spec is None or spec.submodule_search_locations is None:
        raise NotFound(f"There is no plugin folder {folder!r}.", hint=f"Folders: {', '.join(FOLDERS)}")
    built_in = {module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)}
    added = {point.name for point in importlib.metadata.entry_points(group=folder)}
    return tuple(sorted(name for name in built_in | added if not name.startswith("_")))


@cache
def load(folder: str, name: str) -> type[Value]:
    """The plugin class `name` of `folder`.

    Raises:
        NotFound: no such plugin; the message lists what there is and the nearest match.
        TunesmithError: the module does not export exactly one class.
    """
    if name not in names(folder):
        close = nearest(name, names(folder))
        hint = f"Did you mean {close!r}? " if close else ""
        raise NotFound(
            f"{folder.rsplit('.', 1)[1]} has no {name!r}.", hint=f"{hint}Allowed: {', '.join(names(folder))}"
        )
    for point in importlib.metadata.entry_points(group=folder):
        if point.name == name:
            return _checked(point.load(), f"{folder}:{name}")
    module = importlib.import_module(f"{folder}.{name}")
    exported = getattr(module, "__all__", [])
    if len(exported) != 1:
        raise TunesmithError(f"Plugin module {module.__name__} must export exactly one class, exports {exported}.")
    return _checked(getattr(module, exported[0]), module.__name__)


def _checked(found: object, where: str) -> type[Value]:
    if isinstance(found, type) and issubclass(found, Value):
        return found
    raise TunesmithError(f"Plugin {where} must be a class derived from tunesmith.types.base.Value.")
