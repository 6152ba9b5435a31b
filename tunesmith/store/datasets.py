"""Prepared datasets on disk: `home/datasets/<first 16 digits of the digest>/`.

It holds `manifest.json`, `<split>.jsonl` for each split, `dropped.jsonl` and `findings.jsonl`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tunesmith.errors import DataError, NotFound, Problem, nearest
from tunesmith.store.json_lines import read_lines, write_lines
from tunesmith.types.base import Value, digest_file
from tunesmith.types.dataset import SPLITS, DatasetManifest, DroppedRow, Example, RowFinding, SplitName

__all__ = [
    "DROPPED_FILE",
    "FINDINGS_FILE",
    "StoredDataset",
    "dataset_path",
    "load_dataset",
    "load_folder",
    "save_dataset",
    "write_dataset",
]

DROPPED_FILE = "dropped.jsonl"
FINDINGS_FILE = "findings.jsonl"
_MANIFEST = "manifest.json"

Kind = TypeVar("Kind", bound=Value)


@dataclass(frozen=True)
class StoredDataset:
    """A prepared dataset and the folder it lies in."""

    manifest: DatasetManifest
    path: Path

    @property
    def system_prompt(self) -> str | None:
        """The system prompt that every row opens with, or None when rows differ or have none."""
        return self.manifest.system_prompt

    def examples(self, split: SplitName) -> tuple[Example, ...]:
        """All examples of `split` in their stored order.

        Raises:
            NotFound: the dataset has no such split.
            DataError: the split's file is not what was written.
        """
        if split not in self.manifest.splits:
            there = ", ".join(self.manifest.splits)
            raise NotFound(f"The dataset {self.manifest.digest[:16]} has no {split} split.", hint=f"It has: {there}")
        _check_split(self.manifest, self.path, split)
        with (self.path / f"{split}.jsonl").open(encoding="utf-8") as lines:
            return tuple(Example.model_validate_json(line) for line in lines)

    def rows(self, split: SplitName) -> Iterator[Example]:
        """The examples of `split` one at a time, the file not checked first. Raises DataError for a damaged row."""
        return read_lines(self.path / f"{split}.jsonl", Example)

    def dropped(self) -> Iterator[DroppedRow]:
        """The rows that were left out, one at a time; none when the dataset was stored without them."""
        return self._listed(DROPPED_FILE, DroppedRow)

    def findings(self) -> Iterator[RowFinding]:
        """What the steps found, one at a time; nothing when they found nothing."""
        return self._listed(FINDINGS_FILE, RowFinding)

    def _listed(self, name: str, kind: type[Kind]) -> Iterator[Kind]:
        path = self.path / name
        return read_lines(path, kind) if path.is_file() else iter(())

    def name_row(self, split: SplitName, identity: str) -> str:
        """`identity` (of an example) with the file and line it came from, for messages to a person."""
        places = [f"{each.source}:{each.line}" for each in self.examples(split) if each.id == identity]
        return f"{identity} ({', '.join(places)})" if places else identity


def dataset_path(home: Path, digest: str) -> Path:
    """The folder of the dataset with `digest`, whether or not it exists."""
    return home / "datasets" / digest[:16]


def load_dataset(home: Path, digest: str) -> StoredDataset:
    """The stored dataset whose digest is, or begins with at least 16 digits of, `digest`.

    Raises:
        NotFound: there is none; names the nearest.
        DataError: a file of it is missing, cut off or changed.
    """
    path = dataset_path(home, digest)
    if len(digest) < 16 or not path.is_dir():
        there = sorted(each.name for each in path.parent.glob("*") if (each / _MANIFEST).is_file())
        close = nearest(digest[:16], there)
        hint = f"Did you mean {close}?" if close else f"Stored: {', '.join(there) or 'none'}. Run: tunesmith prepare"
        raise NotFound(f"There is no dataset {digest!r} in {path.parent}.", hint=hint)
    stored = load_folder(path, check=True)
    if not stored.manifest.digest.startswith(digest):
        raise _damaged(path / _MANIFEST, f"belongs to the dataset {stored.manifest.digest}")
    return stored


def load_folder(path: Path, *, check: bool = False) -> StoredDataset:
    """The dataset in the folder `path`, stored or exported; with `check` the bytes of its splits are compared.

    Raises:
        DataError: its manifest cannot be read, or a split is missing, cut off or changed.
    """
    try:
        manifest = DatasetManifest.model_validate_json((path / _MANIFEST).read_bytes())
    except OSError:
        raise _damaged(path / _MANIFEST, "is missing") from None
    except ValidationError as error:
        raise _damaged(path / _MANIFEST, f"cannot be read ({error.error_count()} faults)") from None
    for split in manifest.splits if check else ():
        _check_split(manifest, path, split)
    for name, expected in manifest.file_digests.items() if check else ():
        if not (path / name).is_file():
            raise _damaged(path / name, "is missing")
        if digest_file(path / name) != expected:
            raise _damaged(path / name, "is not what was stored")
    return StoredDataset(manifest, path)


def save_dataset(
    home: Path, manifest: DatasetManifest, examples: Mapping[SplitName, Iterable[Example]]
) -> StoredDataset:
    """Write the dataset of these examples; see `write_dataset`."""
    lines = {f"{split}.jsonl": map(_line, examples[split]) for split in manifest.splits}
    return write_dataset(home, manifest, lines)


def write_dataset(home: Path, manifest: DatasetManifest, files: Mapping[str, Iterable[bytes]]) -> StoredDataset:
    """Write the lines of each file into a temporary folder and rename it into place; the manifest's digests of files
    are filled in.

    A dataset that another process stored meanwhile under the same digest is kept and returned. When a file cannot be
    written (OSError), nothing is left.
    """
    path = dataset_path(home, manifest.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        digests = {name: write_lines(temporary / name, lines) for name, lines in files.items()}
        of_splits = {split: digests.pop(f"{split}.jsonl") for split in manifest.splits}
        complete = manifest.model_copy(update={"split_digests": of_splits, "file_digests": digests})
        write_lines(temporary / _MANIFEST, [complete.model_dump_json(indent=2).encode() + b"\n"])
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError:
            if not (path / _MANIFEST).is_file():
                raise
            return load_dataset(home, manifest.digest)
        return StoredDataset(complete, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _line(example: Example) -> bytes:
    return example.model_dump_json().encode() + b"\n"


def _check_split(manifest: DatasetManifest, path: Path, split: SplitName) -> None:
    file = path / f"{split}.jsonl"
    if split not in SPLITS or not file.is_file():
        raise _damaged(file, "is missing")
    if digest_file(file) != manifest.split_digests.get(split):
        expected = manifest.splits[split].rows
        with file.open("rb") as stream:
            found = sum(1 for _ in stream)
        detail = f"{found} rows instead of {expected}" if found != expected else "a changed row"
        raise _damaged(file, f"is not what was stored: it has {detail}")


def _damaged(file: Path, what: str) -> DataError:
    fix = f"remove the folder {file.parent} and run tunesmith prepare again"
    return DataError([Problem(what, file=str(file), fix=fix)], message="The stored dataset is damaged.")
