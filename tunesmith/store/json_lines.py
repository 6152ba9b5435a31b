"""Files with one JSON value a line, read and written one row at a time, so that memory does not grow with the file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tunesmith.errors import DataError, Problem
from tunesmith.types.base import Value

__all__ = ["read_lines", "write_lines"]

Kind = TypeVar("Kind", bound=Value)


def read_lines(path: Path, kind: type[Kind]) -> Iterator[Kind]:
    """The values in `path`, in order.

    Raises:
        DataError: a line is no such value, or the file cannot be read; names file and line.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _value(path, number, line, kind)
    except OSError as error:
        raise DataError([Problem(f"cannot be read: {error.strerror}", file=str(path))]) from error


def write_lines(path: Path, lines: Iterable[bytes]) -> str:
    """Write lines so that they are on the disk; SHA-256 (hex) of the file."""
    running = hashlib.sha256()
    with path.open("wb") as stream:
        for line in lines:
            running.update(line)
            stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
    return running.hexdigest()


def _value(path: Path, number: int, line: bytes, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        fix = "restore the file from where it was copied from, or prepare the dataset again"
        problem = Problem(f"is no {kind.__name__}: {first['msg']}", file=str(path), line=number, field=field, fix=fix)
        raise DataError([problem]) from None
