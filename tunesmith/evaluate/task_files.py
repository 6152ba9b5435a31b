"""Files of known task sets: their rows with line numbers, and items made of them with errors at those lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, NotFound, Problem, RecipeError
from tunesmith.evaluate.item import read_item
from tunesmith.types.suite import Item

__all__ = ["csv_records", "csv_rows", "field", "json_rows", "json_value", "made", "refused"]


def refused(path: Path, line: int | None, message: str, fix: str | None = None) -> DataError:
    """The error of one place in a file."""
    return DataError([Problem(message, file=str(path), line=line, fix=fix)])


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every record that is not empty. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except csv.Error as error:
        raise refused(path, reader.line_num, f"is no CSV: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, None, f"cannot be read: {error}") from None


def csv_records(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by the header's names) of every record. Raises DataError when the header lacks a `needed` name."""
    rows = csv_rows(path)
    line, header = next(rows, (1, []))
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise refused(path, line, f"has no column {', '.join(lacking)}", f"it has: {', '.join(header) or 'nothing'}")
    for line, cells in rows:
        if len(cells) != len(header):
            raise refused(path, line, f"has {len(cells)} cells, the header has {len(header)}")
        yield line, dict(zip(header, cells, strict=True))


def json_value(path: Path) -> Any:
    """The JSON value that the file is. Raises DataError."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise refused(path, error.lineno, f"is no JSON: {error.msg}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, None, f"cannot be read: {error}") from None


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of JSON lines, or (place, object) of one array, whatever the file is called. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            first = next((letter for letter in iter(lambda: stream.read(1), "") if not letter.isspace()), "")
        values = list(enumerate(json_value(path), start=1)) if first == "[" else list(_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, None, f"cannot be read: {error}") from None
    for line, value in values:
        if not isinstance(value, dict):
            raise refused(path, line, "is no JSON object")
        yield line, value


def field(row: Mapping[str, Any], name: str, place: tuple[Path, int]) -> Any:
    """A field that must be there. Raises DataError with the fields that are."""
    if name not in row:
        raise refused(*place, f"there is no field {name!r}", f"it has: {', '.join(map(str, row))}")
    return row[name]


def made(written: Mapping[str, Any], place: tuple[Path, int]) -> Item:
    """The item that a suite's mapping describes. Raises DataError at the place that it came from."""
    path, line = place
    try:
        return read_item(written, "row")[0]
    except NotFound as error:
        raise refused(path, line, error.message, error.hint) from None
    except RecipeError as error:
        problems = [Problem(each.message, str(path), line, each.field, each.fix) for each in error.problems]
        raise DataError(problems, message=f"{path} has a row that is no {written.get('type')}:") from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                yield line, json.loads(text)
            except json.JSONDecodeError as error:
                raise refused(path, line, f"is no JSON: {error.msg}") from None
