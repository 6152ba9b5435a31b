"""From the recipe's sources to parsed rows: finds the files, reads them, chooses formats, collects all problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import DataError, Problem, nearest
from tunesmith.prepare.candidate import Candidate
from tunesmith.prepare.detect import choose_format
from tunesmith.prepare.format import Format
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.reader import SUFFIXES, read_table
from tunesmith.prepare.table import Row
from tunesmith.types.base import digest_file
from tunesmith.types.dataset import Example, SourceFile
from tunesmith.types.recipe import SourceSpec

__all__ = ["OpenSource", "Parsed", "find_sources", "open_sources", "parse_sources"]

_OTHER_FILES: Mapping[str, str] = {
    ".xlsx": "export the sheet as CSV",
    ".xls": "export the sheet as CSV",
    ".parquet": "write it as JSONL (pandas: read_parquet(...).to_json(..., orient='records', lines=True))",
    ".gz": "unpack it first",
    ".zip": "unpack it first",
    ".zst": "unpack it first",
}


class OpenSource(NamedTuple):
    """One file of a source: its name for messages, SHA-256, format and container in words, the format, its rows.

    `rows` are read as they are iterated; iterating raises DataError (without the file's name) for faults of the
    container.
    """

    spec: SourceSpec
    file: str
    digest: str
    format: str
    form: Format
    rows: Iterable[Row]


class Parsed(NamedTuple):
    """All rows of all sources in order, and a description of each file."""

    candidates: tuple[Candidate, ...]
    files: tuple[SourceFile, ...]


def find_sources(sources: tuple[SourceSpec, ...], base_dir: Path) -> tuple[Path, ...]:
    """The file of each source, relative to `base_dir`.

    Raises:
        DataError: for every source that is missing (with the nearest name in its folder), a folder, of a kind that is
            not read, or listed twice.
    """
    problems = Problems()
    paths = []
    for source in sources:
        path = (base_dir / source.path).resolve()
        problem = _file_problem(source.path, path)
        if problem is None and path in paths:
            problem = Problem("is listed twice", file=source.path, field="sources", fix="remove one of the two entries")
        if problem:
            problems.add(problem)
        paths.append(path)
    problems.raise_if_any()
    return tuple(paths)


def open_sources(sources: tuple[SourceSpec, ...], paths: tuple[Path, ...]) -> tuple[OpenSource, ...]:
    """Every file of every source, its container and format recognised, its rows still to be read.

    Raises:
        DataError: the problems of all files together, the first twenty shown and the others counted.
    """
    problems = Problems()
    opened: list[OpenSource] = []
    for source, path in zip(sources, paths, strict=True):
        with problems.collecting(source.path):
            table = read_table(path)
            name, form = choose_format(source, table.rows)
            shown = f"{name} ({table.container})"
            opened.append(OpenSource(source, source.path, digest_file(path), shown, form, table.rows))
    problems.raise_if_any()
    return tuple(opened)


def parse_sources(opened: Sequence[OpenSource]) -> Parsed:
    """Every row of every source as a candidate with its content; all rows are of one kind.

    Raises:
        DataError: the problems of all files together, the first twenty shown and the others counted.
    """
    problems = Problems()
    candidates: list[Candidate] = []
    files: list[SourceFile] = []
    for source in opened:
        before = len(candidates)
        with problems.collecting(source.file):
            for row in source.rows:
                with problems.collecting(source.file, row.line, row.within):
                    content = source.form.parse(row.fields)
                    identity = content.content_digest()[:16]
                    example = Example(id=identity, source=source.file, line=row.line, content=content)
                    candidates.append(Candidate(example, source.spec.split))
        rows = len(candidates) - before
        files.append(SourceFile(path=source.file, digest=source.digest, format=source.format, rows=rows))
    problems.raise_if_any()
    _refuse_a_mixture(candidates)
    return Parsed(tuple(candidates), tuple(files))


def _refuse_a_mixture(candidates: list[Candidate]) -> None:
    """An objective trains on one kind of rows."""
    first = candidates[0].example
    for row in candidates:
        shape = row.example.content.shape
        if shape != first.content.shape:
            message = f"holds {shape} rows, while {first.source} holds {first.content.shape} rows"
            fix = "keep one kind of rows in prepare.sources; train the other kind with a recipe of its own"
            raise DataError([Problem(message, file=row.example.source, line=row.example.line, fix=fix)])


def _file_problem(shown: str, path: Path) -> Problem | None:
    if path.is_dir():
        inside = sorted(each.name for each in path.iterdir() if each.suffix.lower() in SUFFIXES)[:5]
        fix = f"name one file in it, for example {inside[0]}" if inside else f"name a file ({', '.join(SUFFIXES)})"
        return Problem("is a folder, not a file", file=shown, field="path", fix=fix)
    if not path.is_file():
        return Problem("there is no such file", file=shown, field="path", fix=_nearby(path))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        fix = _OTHER_FILES.get(suffix, f"convert or rename it: {', '.join(SUFFIXES)} are read")
        return Problem(f"files ending in {suffix or 'nothing'!r} are not read", file=shown, field="path", fix=fix)
    return None


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    names = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    close = nearest(path.name, names)
    if close:
        return f"did you mean {close!r}?"
    data = [name for name in names if Path(name).suffix.lower() in SUFFIXES][:5]
    return f"{path.parent} holds {', '.join(data) or 'no data files'}"
