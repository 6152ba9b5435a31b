"""Which datasets are stored, and which of them a person means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import NotFound, nearest
from tunesmith.store.datasets import StoredDataset, load_folder

__all__ = ["all_datasets", "find_dataset", "stored_folders"]


def stored_folders(home: Path) -> list[Path]:
    """The folders of the stored datasets, the oldest first."""
    folders = [path.parent for path in (home / "datasets").glob("[!.]*/manifest.json")]
    return sorted(folders, key=lambda folder: ((folder / "manifest.json").stat().st_mtime_ns, folder.name))


def all_datasets(home: Path) -> Iterator[StoredDataset]:
    """The stored datasets, the oldest first; their files are not checked. Raises DataError for a damaged manifest."""
    yield from map(load_folder, stored_folders(home))


def find_dataset(home: Path, name: str, *, check: bool = True) -> StoredDataset:
    """The dataset whose digest begins with `name`, or that lies in the folder `name` (an exported one).

    With `check` the bytes of its splits are compared with its manifest.

    Raises:
        NotFound: there is none, or `name` is the beginning of several.
        DataError: a file of it is missing, cut off or changed.
    """
    folder = Path(name)
    if (folder / "manifest.json").is_file():
        return load_folder(folder, check=check)
    there = sorted(path.parent.name for path in (home / "datasets").glob("[!.]*/manifest.json"))
    matching = [each for each in there if each.startswith(name[:16])] if name else []
    if len(matching) == 1:
        return load_folder(home / "datasets" / matching[0], check=check)
    if matching:
        raise NotFound(
            f"{name!r} is the beginning of {len(matching)} datasets.", hint=f"They are: {', '.join(matching)}"
        )
    close = nearest(name, there)
    listed = f"Did you mean {close}?" if close else f"Stored: {', '.join(there) or 'none'}."
    raise NotFound(
        f"There is no dataset {name!r} in {home / 'datasets'}.", hint=f"{listed} List them: tunesmith data ls"
    )
