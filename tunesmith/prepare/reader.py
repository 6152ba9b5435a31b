"""Reads a data file into rows. The content decides how it is read; the name only breaks ties.

JSONL under `.json`, a JSON array under `.jsonl`, tabs under `.csv`, a byte-order mark and any line ends are read as
meant. Line ends inside CSV cells become a plain newline. Everything else that breaks the container's rules is an error.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.csv_rows import read_delimited
from tunesmith.prepare.json_rows import read_json
from tunesmith.prepare.table import Table

__all__ = ["SUFFIXES", "read_table"]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_table(path: Path) -> Table:
    """All rows of the file at `path`.

    Raises:
        DataError: with one problem for each thing wrong (line, field, message, fix); the caller adds the file's name.
    """
    text = _decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(
            [Problem("the file is empty", line=1, fix="check that the right file was given and fully downloaded")]
        )
    suffix = path.suffix.lower()
    table = read_json(text) if _looks_like_json(text, suffix) else read_delimited(text, suffix)
    if not table.rows:
        raise DataError([Problem("the file holds no rows", line=1, fix="add at least one row")])
    return table


def _decoded(content: bytes) -> str:
    encoding = "utf-8"
    for mark, name in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        found = f"byte 0x{content[error.start]:02x} at column {column} is not {encoding.upper()}"
        raise DataError([Problem(found, line=line, fix="save the file as UTF-8")]) from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        fix = f"give a text file ({', '.join(SUFFIXES)}) saved as UTF-8"
        raise DataError([Problem("the file holds binary data (a zero byte)", line=line, fix=fix)])
    return text


def _looks_like_json(text: str, suffix: str) -> bool:
    start = text.lstrip()
    if suffix in (".jsonl", ".ndjson", ".json"):
        return not _is_plainly_delimited(start)
    if not start.startswith(("{", "[")):
        return False
    return suffix == ".txt" or _parses(start) or _parses(start.split("\n", 1)[0])


def _is_plainly_delimited(start: str) -> bool:
    """A file called JSON that begins with a header of several names, and where no line begins with a JSON object."""
    header, _, rest = start.partition("\n")
    divided = any(mark in header for mark in ("\t", ",", ";"))
    return bool(rest) and divided and not set('{}[]:<"') & set(header) and "\n{" not in rest


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
