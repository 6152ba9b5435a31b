"""Reads a data file into rows. The content decides how it is read; the name only breaks ties.

JSONL under `.json`, a JSON array under `.jsonl`, tabs under `.csv`, Parquet, Arrow, gzip and Zstandard under any name,
a byte-order mark and any line ends are read as meant. Line ends inside CSV cells become a plain newline. Everything
else that breaks the container's rules is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.columnar_rows import COLUMNAR, read_columnar
from tunesmith.prepare.csv_rows import read_delimited
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.json_rows import read_json
from tunesmith.prepare.pieces import text_pieces
from tunesmith.prepare.table import Reread, Row, Table
from tunesmith.prepare.text_rows import read_text

__all__ = ["PACKED_SUFFIXES", "SUFFIXES", "read_table", "suffix_of"]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet", ".arrow", ".feather")
PACKED_SUFFIXES = (".gz", ".zst")
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv")
_JSON_START = re.compile(r'\s*(\[\s*)?\{\s*"')
_NAME = re.compile(r'"?\w[\w -]{0,40}(\.\w[\w -]{0,40})?"?')


def read_table(file: Input) -> Table:
    """The rows of `file`, read as they are iterated, not before.

    Raises:
        DataError: with one problem for each thing wrong (line, field, message, fix); the caller adds the file's name.
            Iterating the rows raises it too.
        MissingDependency: the container needs a package that is not installed.
    """
    with file.open() as stream:
        start = stream.peek(8)[:8]
    columnar = next((kind for mark, kind in COLUMNAR if start.startswith(mark)), None)
    table = read_columnar(file, columnar) if columnar else _read_text_file(file)
    if file.spec.unit and table.container != "text":
        fix = "remove unit for this source"
        raise DataError([Problem(f"applies to plain text only, this is {table.container}", field="unit", fix=fix)])
    return Table(table.container, Reread(lambda: _chosen(table.rows.__iter__(), file.spec.part)))


def suffix_of(name: str) -> str:
    """The lower-case suffix that says what a file holds: `.jsonl` of `rows.JSONL.gz`."""
    path = PurePath(name.lower())
    return PurePath(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix


def _chosen(rows: Iterator[Row], part: str | None) -> Iterator[Row]:
    """The rows of the named part (all when there is none), which must be some."""
    seen: dict[str, None] = {}
    found = False
    for row in rows:
        name = str(row.fields.get("part", ""))
        seen.setdefault(name)
        if part is None or part == name:
            found = True
            yield row
    if found:
        return
    if not seen:
        raise DataError([Problem("the file holds no rows", line=1, fix="add at least one row")])
    there = ", ".join(filter(None, seen))
    fix = f"write one of {there}" if there else "remove part: the file is one list of rows"
    raise DataError([Problem(f"the file has no part {part!r}", field="part", fix=fix)])


def _read_text_file(file: Input) -> Table:
    head = _head(file)
    if not head.strip():
        fix = "check that the right file was given and fully downloaded"
        raise DataError([Problem("the file is empty", line=1, fix=fix)])
    suffix = suffix_of(file.name)
    plain = file.spec.unit is not None or file.spec.format == "text"
    if _looks_like_json(head, suffix):
        return read_json(lambda: text_pieces(file))
    if suffix not in (*_TABLES, *_JSON) and (plain or not _is_delimited(head)):
        return read_text(lambda: text_pieces(file), file.spec.unit or "paragraph")
    return read_delimited(lambda: text_pieces(file), suffix)


def _head(file: Input) -> str:
    """The first piece of the text that is not blank."""
    for piece in text_pieces(file):
        if piece.strip():
            return piece
    return ""


def _looks_like_json(text: str, suffix: str) -> bool:
    return not _is_plainly_delimited(text.lstrip()) if suffix in _JSON else bool(_JSON_START.match(text))


def _is_plainly_delimited(start: str) -> bool:
    """A file called JSON that begins with a header of several names, and where no line begins with a JSON object."""
    header, _, rest = start.partition("\n")
    divided = any(mark in header for mark in ("\t", ",", ";"))
    return bool(rest) and divided and not set('{}[]:<"') & set(header) and "\n{" not in rest


def _is_delimited(text: str) -> bool:
    """Whether a text looks like a table: its first line is a row of names, each of the next divided at least as often.

    Prose does not: its lines divide as they like.
    """
    lines = [line for line in text.lstrip("\n").split("\n")[:20] if line.strip()]
    for mark in ("\t", ",", ";"):
        names = lines[0].split(mark)
        if len(names) > 1 and len(lines) > 1 and all(map(_NAME.fullmatch, map(str.strip, names))):
            return all(line.count(mark) >= len(names) - 1 for line in lines[1:-1] or lines[1:])
    return False
