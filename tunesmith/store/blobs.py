"""Bytes kept under their own SHA-256: `folder/<digest>`. Written as a draft, whole on the disk before they get a name.

A draft that is not kept leaves nothing, whatever ended it: an error, a full disk or a lost client removes it at once,
the end of the process at the next `sweep` (a draft is locked by its process for as long as it is written). Bytes that
are about to be named or removed are marked as doubtful until their rows are written for certain, and `sweep` judges
those alone: a server over another or an older database, which knows none of the bytes, removes none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

__all__ = ["Blobs", "Draft"]

_DRAFT = ".draft-"
_DOUBT = ".doubt-"
_LOCK = ".lock"


class Draft:
    """Bytes that are being written; a context manager, at whose end they are gone unless `Blobs.keep` took them."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.path = path
        self.size = 0
        self._stream = stream
        self._running = hashlib.sha256()

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was written so far."""
        return self._running.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        self._stream.write(piece)
        self._running.update(piece)
        self.size += len(piece)

    def flush(self) -> None:
        """Hand everything to the operating system, so that `path` can be read. Raises OSError when the disk is full."""
        self._stream.flush()

    def sync(self) -> None:
        """Put everything on the disk. Raises OSError when it is full."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def discard(self) -> None:
        """Remove the draft; what was kept stays. Never fails for want of space."""
        with contextlib.suppress(OSError):  # a full disk refuses the rest of the buffer, which nobody wants any more
            self._stream.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The bytes in `folder`, shared by every process of this machine that opens it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._doubtful: set[str] = set()

    def path(self, digest: str) -> Path:
        """Where the bytes with `digest` lie, whether or not they are there."""
        return self._folder / digest

    def draft(self) -> Draft:
        """A new empty draft. Raises OSError when it cannot be made."""
        with self.locked():
            handle, name = tempfile.mkstemp(prefix=_DRAFT, dir=self._folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
            return Draft(os.fdopen(handle, "wb"), Path(name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else keeps or removes bytes inside the block, so what a row says of them is true when written.

        What was doubtful in it is certain at its end; after an error, or the process's end, `sweep` finds out.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._doubtful = set()
            yield
            for digest in self._doubtful:
                self._mark(digest).unlink(missing_ok=True)

    def doubt(self, digests: Iterable[str]) -> None:
        """The bytes with these digests are wanted or not by what is being written. To be called inside `locked`."""
        for digest in digests:
            with contextlib.suppress(OSError):  # a full disk must not keep anybody from deleting
                self._mark(digest).touch()
            self._doubtful.add(digest)

    def keep(self, draft: Draft) -> None:
        """Give the draft its name. To be called inside `locked`, after `Draft.sync`."""
        self.doubt([draft.digest])
        draft.path.chmod(0o644)
        draft.path.replace(self.path(draft.digest))
        self._sync_folder()

    def remove(self, digest: str) -> None:
        """Remove the bytes with `digest`, if they are there. To be called inside `locked`."""
        self.path(digest).unlink(missing_ok=True)

    def sweep(self, wanted: Callable[[], Collection[str]]) -> int:
        """Remove doubtful bytes whose digest is not in `wanted()`, and the drafts of dead processes; how many files.

        They are there when a process ended between two steps of keeping or removing.
        """
        with self.locked():
            stale = [path for path in self._folder.glob(f"{_DRAFT}*") if _unlocked(path)]
            marks = list(self._folder.glob(f"{_DOUBT}*"))
            known = wanted() if marks else ()
            doubtful = (mark.name.removeprefix(_DOUBT) for mark in marks)
            stale += [self.path(digest) for digest in doubtful if digest not in known and self.path(digest).exists()]
            for path in (*stale, *marks):
                path.unlink()
            return len(stale)

    def _mark(self, digest: str) -> Path:
        return self._folder / f"{_DOUBT}{digest}"

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unlocked(path: Path) -> bool:
    """Whether no process writes the draft at `path` any more."""
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except (BlockingIOError, FileNotFoundError):
        return False
