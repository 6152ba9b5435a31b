"""Finding the adapter that somebody names: a release, a run's folder or an adapter's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tunesmith.models.weights import BaseFiles
    from tunesmith.progress import Progress
    from tunesmith.settings import Settings

__all__ = ["Adapter", "find_adapter"]


class Adapter(NamedTuple):
    """An adapter's folder, its base, and the digest of the dataset it was trained on if that is known."""

    folder: Path
    base: BaseFiles
    dataset: str | None


def find_adapter(model: str, settings: Settings, progress: Progress) -> Adapter:
    """The adapter of a release (`name`, `name@v3`, `name:alias`), of a run's folder, or in a folder.

    A release goes before a folder of its name that is no adapter (`examples/acme` beside the release `acme`). Raises
    ModelError for a folder that does not say what base it belongs to, NotFound for an unknown release.
    """
    from tunesmith.errors import ModelError, NotFound
    from tunesmith.models.adapter import read_identity
    from tunesmith.models.weights import resolve_base
    from tunesmith.release.registry import open_registry
    from tunesmith.types.recipe import ModelSpec

    folder = Path(model).expanduser()
    if folder.is_dir():
        record = folder / "run.json"
        dataset = json.loads(record.read_text())["dataset_digest"] if record.is_file() else None
        adapter = folder / "adapter" if (folder / "adapter").is_dir() else folder
        identity = read_identity(adapter)
        if identity is not None:
            return Adapter(adapter, resolve_base(ModelSpec(base=identity.base), settings.home, progress), dataset)
    registry = open_registry(settings)
    try:
        release = registry.get(model)
    except NotFound:
        if not folder.is_dir():
            raise
        raise ModelError(
            f"{folder} does not say what base it belongs to: tunesmith.json is missing.",
            hint="Name a release, or the folder of a run or adapter that Tunesmith made.",
        ) from None
    finally:
        registry.close()
    base = resolve_base(ModelSpec(base=release.base), settings.home, progress)
    return Adapter(Path(release.adapter_path), base, release.dataset_digest)
