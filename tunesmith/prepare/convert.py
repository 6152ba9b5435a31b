"""Rows of any format read and written again in one that other tools read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.sources import OpenSource, find_sources, open_sources
from tunesmith.prepare.writers import WRITERS, Target
from tunesmith.types.preparation import SourceSpec

__all__ = ["Converted", "convert"]


class Converted(NamedTuple):
    """What was read: (file, its format and container) of each, and the number of rows written."""

    files: tuple[tuple[str, str], ...]
    rows: int


def convert(source: SourceSpec, target: Target, out: Path) -> Converted:
    """Write the rows of `source` (relative to the working folder) to `out` as JSONL in the format `target`.

    The file appears whole or not at all; rows are read and written one by one.

    Raises:
        DataError: a row cannot be read, or cannot be said in that format (all such rows together); the file cannot be
            written.
    """
    opened = open_sources(find_sources((source,), Path()))
    problems = Problems()
    rows = 0
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=out.parent, delete=False) as draft:
            try:
                for line in _lines(opened, target, problems):
                    draft.write(line)
                    rows += 1
                problems.raise_if_any()
                draft.flush()
                os.fsync(draft.fileno())
                os.chmod(draft.name, 0o644)
                os.replace(draft.name, out)
            except BaseException:
                os.unlink(draft.name)
                raise
    except OSError as error:
        fix = "choose another --out, or make room"
        raise DataError([Problem(f"cannot be written: {error.strerror or error}", file=str(out), fix=fix)]) from None
    return Converted(tuple((file.file, file.format) for file in opened), rows)


def _lines(opened: tuple[OpenSource, ...], target: Target, problems: Problems) -> Iterator[str]:
    for source in opened:
        with problems.collecting(source.file):
            for row in source.rows:
                with problems.collecting(source.file, row.line, row.within):
                    fields = WRITERS[target](source.form.parse(row.fields))
                    yield f"{json.dumps(fields, ensure_ascii=False)}\n"
