"""A dataset as a folder of its own: all files, the card as README.md, and the digests by which anybody checks it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import DataError, Problem
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.base import digest_file
from tunesmith.types.dataset import DatasetManifest, SplitName

__all__ = ["SUMS_FILE", "FileCheck", "export_dataset", "verify_dataset"]

SUMS_FILE = "SHA256SUMS"
_CARD, _README = "card.md", "README.md"


class FileCheck(NamedTuple):
    """One thing that was verified: a file's bytes, or the rows in it; `fault` says what is wrong, or nothing."""

    name: str
    what: str
    fault: str = ""


def export_dataset(dataset: StoredDataset, folder: Path) -> Path:
    """Copy `dataset` into `folder`, through a draft that is renamed. An earlier export there is replaced.

    The card becomes README.md, and SHA256SUMS lists every file as `sha256sum --check` reads it.

    Raises:
        DataError: `folder` holds something else than an exported dataset, or cannot be written.
    """
    if folder.exists() and not _replaceable(folder):
        fix = "name another folder, or empty it"
        problem = Problem("holds files that are no exported dataset", file=str(folder), field="--to", fix=fix)
        raise DataError([problem], message="Nothing was exported.")
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for source in sorted(
            path for path in dataset.path.iterdir() if path.is_file() and not path.name.startswith(".")
        ):
            if source.name != SUMS_FILE:
                shutil.copyfile(source, draft / (_README if source.name == _CARD else source.name))
        sums = (f"{digest_file(path)}  {path.name}\n" for path in sorted(draft.iterdir()))
        (draft / SUMS_FILE).write_text("".join(sums), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except OSError as error:
        problem = Problem(f"cannot be written: {error.strerror}", file=str(error.filename or folder), field="--to")
        raise DataError([problem], message="Nothing was exported.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _replaceable(folder: Path) -> bool:
    """An empty folder, or one in which every file is listed in its own SHA256SUMS."""
    if not folder.is_dir():
        return False
    return {path.name for path in folder.iterdir()} <= {SUMS_FILE, *_sums(folder)}


def verify_dataset(dataset: StoredDataset) -> tuple[FileCheck, ...]:
    """Every byte and every count of the folder of `dataset`, compared with its manifest and, where there is one, its
    SHA256SUMS.
    """
    manifest, folder = dataset.manifest, dataset.path
    checks = [_bytes(folder / f"{split}.jsonl", manifest.split_digests.get(split, "")) for split in manifest.splits]
    checks += [_bytes(folder / name, digest) for name, digest in manifest.file_digests.items()]
    checks += [_rows(dataset, split) for split in manifest.splits]
    if (folder / "dropped.jsonl").is_file():
        checks.append(_dropped(dataset))
    sums = _sums(folder)
    checks += [_bytes(folder / name, digest, "listed in SHA256SUMS") for name, digest in sums.items()]
    if sums:
        unlisted = {path.name for path in folder.iterdir()} - {SUMS_FILE, *sums}
        checks += [FileCheck(name, "listed in SHA256SUMS", "is not listed") for name in sorted(unlisted)]
    return tuple(checks)


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _bytes(path: Path, digest: str, what: str = "bytes as the manifest says") -> FileCheck:
    if not path.is_file():
        return FileCheck(path.name, what, "is missing")
    found = digest_file(path)
    return FileCheck(path.name, what, "" if found == digest else f"has SHA-256 {found[:16]}…, not {digest[:16]}…")


def _rows(dataset: StoredDataset, split: SplitName) -> FileCheck:
    """The rows are as many as the manifest says, and each is the one its id names."""
    rows, wrong = 0, ""
    try:
        for row in dataset.rows(split):
            rows += 1
            if not wrong and row.content.content_digest()[: len(row.id)] != row.id:
                wrong = f"row {rows} ({row.source}:{row.line}) is not what its id {row.id} names"
    except DataError as error:
        wrong = str(error.problems[0])
    expected = dataset.manifest.splits[split].rows
    if not wrong and rows != expected:
        wrong = f"holds {rows:,} rows, not {expected:,}"
    return FileCheck(f"{split}.jsonl", f"{expected:,} rows, each named by its content", wrong)


def _dropped(dataset: StoredDataset) -> FileCheck:
    """The rows left out are as many for each reason as the ledger says."""
    what = "rows for each reason as the ledger says"
    try:
        found = Counter(row.reason for row in dataset.dropped())
    except DataError as error:
        return FileCheck("dropped.jsonl", what, str(error.problems[0]))
    expected = _expected(dataset.manifest)
    wrong = [
        f"{found[reason]:,} {reason}, not {expected[reason]:,}"
        for reason in sorted(found | expected)
        if found[reason] != expected[reason]
    ]
    return FileCheck("dropped.jsonl", what, f"holds {'; '.join(wrong)}" if wrong else "")


def _expected(manifest: DatasetManifest) -> Counter[str]:
    return Counter({drop.reason: drop.rows for drop in manifest.ledger.drops})
