"""Which datasets a new one is made of: told by the bytes of its source files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tunesmith.errors import DataError
from tunesmith.store.dataset_index import stored_folders
from tunesmith.store.datasets import load_folder
from tunesmith.types.dataset import DatasetManifest

__all__ = ["parents_of"]


def parents_of(home: Path, files: Iterable[tuple[str, Path | str]]) -> tuple[str, ...]:
    """The digests of the datasets of which a split is one of `files` (SHA-256, local path or address), each once.

    The manifest in the folder of the file (a stored or an exported dataset) is asked first, then those of all datasets
    in `home`; where several of them have the same split, the oldest is the parent.
    """
    known = {split: each.digest for each in reversed(_manifests(stored_folders(home))) for split in _splits(each)}
    found: dict[str, None] = {}
    for digest, place in files:
        beside = _manifests([place.parent] if isinstance(place, Path) else [])
        parent = next((each.digest for each in beside if digest in _splits(each)), known.get(digest))
        if parent is not None:
            found[parent] = None
    return tuple(found)


def _splits(manifest: DatasetManifest) -> Iterable[str]:
    return manifest.split_digests.values()


def _manifests(folders: Iterable[Path]) -> list[DatasetManifest]:
    """The manifests in `folders`; a folder without one, or whose manifest is another program's, is no dataset."""
    found = []
    for folder in folders:
        try:
            found.append(load_folder(folder).manifest)
        except DataError:
            continue
    return found
