"""The rows that a refused preparation had dropped, so that they can be looked at and repaired.

They lie in `home/refused/<first 16 digits of the digest>/dropped.jsonl`, in the form of a dataset's `dropped.jsonl`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tunesmith.store.datasets import DROPPED_FILE
from tunesmith.store.json_lines import write_lines

__all__ = ["forget_refused", "keep_refused", "refused_path"]


def refused_path(home: Path, digest: str) -> Path:
    """The file of the rows dropped when the dataset with `digest` was refused, whether or not it exists."""
    return home / "refused" / digest[:16] / DROPPED_FILE


def keep_refused(path: Path, lines: Iterable[bytes]) -> None:
    """Write the lines to `path` through a draft that is renamed: an earlier file there is replaced as a whole.

    Raises OSError when they cannot be written; then an earlier file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        write_lines(draft, lines)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def forget_refused(path: Path) -> None:
    """Remove the file at `path` with its folder, if it is there."""
    shutil.rmtree(path.parent, ignore_errors=True)
