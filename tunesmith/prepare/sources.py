"""From the recipe's sources to parsed rows: finds the files, reads them, chooses formats, collects all problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import Problem
from tunesmith.prepare.detect import choose_format
from tunesmith.prepare.files import files_of
from tunesmith.prepare.format import Format
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.opening import opening
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.reader import read_table
from tunesmith.prepare.table import Row
from tunesmith.types.dataset import Example
from tunesmith.types.preference import Row as Content
from tunesmith.types.preparation import SourceSpec

__all__ = ["OpenSource", "find_sources", "open_sources", "parse_sources"]


class OpenSource(NamedTuple):
    """One file of a source: its name for messages, SHA-256, format and container in words, the format, its rows.

    `rows` are read as they are iterated, any number of times; iterating raises DataError (without the file's name) for
    faults of the container.
    """

    spec: SourceSpec
    file: str
    digest: str
    format: str
    form: Format
    rows: Iterable[Row]


def find_sources(sources: tuple[SourceSpec, ...], base_dir: Path) -> tuple[Input, ...]:
    """The files of all sources in order: a file, all data files of a folder, those of a glob, `-` (standard input), an
    fsspec address. Local paths are relative to `base_dir`.

    Raises:
        DataError: for every source that is missing (with the nearest name in its folder), of a kind that is not read,
            or gives a file that is listed already.
    """
    problems = Problems()
    found: list[Input] = []
    places: set[object] = set()
    for source in sources:
        with problems.collecting(source.path):
            for file in files_of(source, base_dir):
                if file.place in places:
                    fix = "remove one of the two entries"
                    problems.add(Problem("is listed twice", file=file.name, field="sources", fix=fix))
                places.add(file.place)
                found.append(file)
    problems.raise_if_any()
    return tuple(found)


def open_sources(files: Sequence[Input]) -> tuple[OpenSource, ...]:
    """Every file, its container and format recognised (the recipe's, or what its first rows show), its rows still to be
    read.

    Raises:
        DataError: a file cannot be opened; then the rows of the others are read too, and the problems of all files are
            reported together, the first twenty shown and the others counted.
        MissingDependency: a container needs a package that is not installed.
    """
    problems = Problems()
    opened: list[OpenSource] = []
    for file in files:
        with problems.collecting(file.name):
            table = read_table(file)
            name, form = choose_format(file.spec, table.rows)
            shown = f"{name} ({table.container})"
            form = opening(form, file.spec.system)
            opened.append(OpenSource(file.spec, file.name, file.digest(), shown, form, table.rows))
    if problems.count:
        for source in opened:
            for _ in _contents(source, problems):
                pass  # only what is wrong counts now
    problems.raise_if_any()
    return tuple(opened)


def _contents(source: OpenSource, problems: Problems) -> Iterator[tuple[Row, Content]]:
    """The rows of a file with what they say; what is wrong is added to `problems`."""
    with problems.collecting(source.file):
        for row in source.rows:
            with problems.collecting(source.file, row.line, row.within):
                yield row, source.form.parse(row.fields)


def parse_sources(opened: Sequence[OpenSource]) -> tuple[Example, ...]:
    """Every row of every file, all in memory: for small files.

    Raises:
        DataError: the problems of all files together, the first twenty shown and the others counted.
    """
    problems = Problems()
    examples: list[Example] = []
    for source in opened:
        for row, content in _contents(source, problems):
            identity = content.content_digest()[:16]
            examples.append(Example(id=identity, source=source.file, line=row.line, content=content))
    problems.raise_if_any()
    return tuple(examples)
