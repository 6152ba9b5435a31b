"""The adapter that a recipe starts from, found by its name: a release, a run's folder or an adapter's folder."""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.errors import NotFound, Problem, RecipeError
from tunesmith.release.registry import open_registry
from tunesmith.release.stage import ADAPTER_FOLDER
from tunesmith.settings import Settings
from tunesmith.train.parent import Parent, read_parent
from tunesmith.types.recipe import TrainSpec

__all__ = ["find_parent"]

_VERSION = re.compile(r"[^@/]+@v\d+")


def find_parent(spec: TrainSpec, folder: Path, settings: Settings) -> Parent | None:
    """What `spec.start_from` names, folders relative to `folder` (the recipe's); None when it names nothing.

    A release is named with its version, because training must not go on from something else when an alias moves.
    Raises RecipeError when there is no such adapter.
    """
    named = spec.start_from
    if named is None:
        return None
    place = folder / Path(named).expanduser()
    if place.is_dir():
        inside = place / ADAPTER_FOLDER
        return read_parent(inside if inside.is_dir() else place, named)
    if not _VERSION.fullmatch(named):
        fix = "name a release with its version (support@v1), a run's folder or an adapter's folder"
        message = f"{named!r} is no folder beside the recipe, and no release with its version"
        raise RecipeError([Problem(message, field="train.start_from", fix=fix)])
    registry = open_registry(settings)
    try:
        return read_parent(Path(registry.get(named).adapter_path), named)
    except NotFound as error:
        raise RecipeError([Problem(error.message, field="train.start_from", fix=error.hint)]) from None
    finally:
        registry.close()
