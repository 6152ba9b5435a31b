"""One file of a source: what it is called, how its bytes are opened, their digest."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tunesmith.errors import DataError, MissingDependency, Problem
from tunesmith.types.preparation import SourceSpec

__all__ = ["Input", "open_remote"]

_PIECE = 1 << 20


@dataclass(frozen=True)
class Input:
    """A file to read. `name` stands in messages and in the manifest; `place` is a local path or an fsspec address."""

    name: str
    place: Path | str
    spec: SourceSpec

    def open(self) -> io.BufferedReader:
        """The file's bytes, from their beginning. Raises DataError when it cannot be opened."""
        if isinstance(self.place, str):
            return io.BufferedReader(cast("io.RawIOBase", open_remote(self.place)), _PIECE)
        try:
            return cast(io.BufferedReader, self.place.open("rb", buffering=_PIECE))
        except OSError as error:
            raise DataError([_unopened(error)]) from None

    def digest(self) -> str:
        """SHA-256 (hex) of the file's bytes as they are stored."""
        running = hashlib.sha256()
        with self.open() as stream:
            while piece := stream.read(_PIECE):
                running.update(piece)
        return running.hexdigest()


def open_remote(address: str) -> BinaryIO:
    """The bytes at an fsspec address such as `s3://bucket/rows.jsonl`.

    Raises:
        MissingDependency: the package that knows the protocol is not installed.
        DataError: there is no such protocol or file, or the store refuses.
    """
    import fsspec

    try:
        return cast(BinaryIO, fsspec.open(address, "rb").open())
    except ImportError as error:
        raise MissingDependency(f"{address} cannot be opened: {error}") from None
    except OSError as error:
        raise DataError([_unopened(error)]) from None
    except Exception as error:  # noqa: BLE001  # every store's client raises errors of its own
        message = f"cannot be opened: {type(error).__name__}: {error}"
        raise DataError([Problem(message, field="path", fix="check the address and the store's credentials")]) from None


def _unopened(error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem("there is no such file", field="path", fix="check the path")
    if isinstance(error, PermissionError):
        return Problem("may not be read: no permission", field="path", fix="give yourself the right: chmod u+r FILE")
    return Problem(f"cannot be read: {error.strerror or error}", field="path", fix="check the file and its disk")
