"""JSON in its usual shapes to rows: one object a line, an array, an object of columns, objects spread over lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.json_diagnosis import diagnose
from tunesmith.prepare.table import Row, Table

__all__ = ["read_json"]

_SPACE = re.compile(r"[ \t\n]*")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class _Found(NamedTuple):
    """A JSON value, the line it starts at (from 1) and the offset one past its end."""

    value: Any
    line: int
    end: int


class _NamedTwiceError(ValueError):
    """An object names a key twice, or holds NaN or Infinity: JSON readers would silently lose or bend data."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def read_json(text: str) -> Table:
    """Rows of `text`, whose line ends are plain newlines.

    Raises:
        DataError: one problem for each line (JSONL), or the first place where an array breaks, by line and column.
    """
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # the pattern matches the empty string
    if text[start] == "[":
        return Table("json", tuple(_array_rows(text, start)))
    if not re.search(r"^[ \t]*{", text, re.MULTILINE):
        beginning = text[start : start + 30].split("\n", 1)[0]
        _refuse(
            f"the file holds no JSON objects; it starts with {beginning!r}", 1, "check that the right file was given"
        )
    if _is_line_by_line(text):
        return Table("jsonl", tuple(_line_rows(text)))
    found = list(_values(text, start))
    if len(found) == 1 and isinstance(found[0].value, dict):
        return Table("json", tuple(_object_rows(found[0])))
    return Table("json", tuple(_as_row(each.value, each.line) for each in found))


def _is_line_by_line(text: str) -> bool:
    """Whether lines are meant to be records: one of the first looks like a whole object at the start of its line."""
    lines = [line.rstrip() for line in text.split("\n", 50)[:50] if line.strip()]
    if len(lines) == 1:
        return not _whole_object_of_objects(lines[0].strip())
    return any(line[0] == "{" and line.rstrip(",").endswith("}") for line in lines)


def _whole_object_of_objects(line: str) -> bool:
    try:
        value = _decoder().decode(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and all(isinstance(each, dict) for each in value.values())


def _line_rows(text: str) -> Iterator[Row]:
    lines = text.split("\n")
    last = max(number for number, line in enumerate(lines, 1) if line.strip())
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = _decode(line, _SPACE.match(line).end(), number, last=number == last)  # type: ignore[union-attr]
            _refuse_rest(line, found, number)
            yield _as_row(found.value, number)
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)


def _refuse_rest(line: str, found: _Found, number: int) -> None:
    rest = line[found.end :].strip()
    if rest == ",":
        _refuse(
            "the line ends with a comma", number, "remove the comma: JSONL has one object a line and nothing between"
        )
    if rest.startswith(("{", ",")):
        _refuse("the line holds several objects", number, "write one object a line")
    if rest:
        column = line.index(rest, found.end) + 1
        _refuse(f"something follows the object at column {column}: {rest[:30]!r}", number, "write one object a line")


def _array_rows(text: str, start: int) -> Iterator[Row]:
    """Rows of the array that opens at `start`."""
    offset, line, counted = _skip(text, start + 1), 1, 0
    if text[offset : offset + 1] == "]":
        return
    while True:
        line, counted = line + text.count("\n", counted, offset), offset
        found = _decode(text, offset, line, last=True)
        yield _as_row(found.value, line)
        offset = _skip(text, found.end)
        mark = text[offset : offset + 1]
        if mark == "]":
            break
        if mark != ",":
            _refuse_in_array(text, offset, mark)
        offset = _skip(text, offset + 1)
        if text[offset : offset + 1] == "]":
            _refuse_at(text, offset, "the array has a comma after its last row", "remove that comma")
    offset = _skip(text, offset + 1)
    if offset < len(text):
        _refuse_at(
            text,
            offset,
            f"something follows the array: {text[offset : offset + 30]!r}",
            "keep one array, nothing after",
        )


def _refuse_in_array(text: str, offset: int, mark: str) -> NoReturn:
    if not mark:
        _refuse_at(text, offset, "the file ends inside the array", "close it with ], or fetch the whole file again")
    if mark == "{":
        _refuse_at(text, offset, "a comma is missing between two rows", "put a comma after the row before")
    _refuse_at(text, offset, f"expected a comma or ], found {mark!r}", "separate rows by commas")


def _values(text: str, offset: int) -> Iterator[_Found]:
    """Values one after the other, each over any number of lines."""
    line, counted = 1, 0
    while offset < len(text):
        line, counted = line + text.count("\n", counted, offset), offset
        found = _decode(text, offset, line, last=True)
        yield found
        offset = _skip(text, found.end)
        if text[offset : offset + 1] == ",":
            _refuse_at(text, offset, "a comma between objects outside an array", "enclose the objects in [ ]")


def _object_rows(found: _Found) -> Iterator[Row]:
    """A lone object: one row, or the rows of a table that pandas stored by columns or by index."""
    fields: dict[str, Any] = found.value
    parts = list(fields.values())
    if not parts or not all(isinstance(part, dict) for part in parts):
        yield Row(found.line, fields)
    elif all(key.isdigit() for part in parts for key in part) and all(parts):
        keys = list(dict.fromkeys(key for part in parts for key in part))
        for key in keys:
            yield Row(found.line, {name: part[key] for name, part in fields.items() if key in part}, f'["{key}"]')
    elif all(key.isdigit() for key in fields):
        for key, part in fields.items():
            yield Row(found.line, part, f'["{key}"]')
    else:
        yield Row(found.line, fields)


def _as_row(value: Any, line: int) -> Row:
    if isinstance(value, dict):
        return Row(line, value)
    kind = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
    raise DataError([Problem(f"a row must be an object, this is {kind}", line=line, fix='write {"key": value, ...}')])


def _decode(text: str, offset: int, line: int, *, last: bool) -> _Found:
    """The value at `offset`, which lies on `line`; `last` says whether a premature end may be the file's end."""
    try:
        value, end = _decoder().raw_decode(text, offset)
    except json.JSONDecodeError as error:
        raise DataError([diagnose(text, offset, error.pos, error.msg, line, may_be_cut=last)]) from None
    except _NamedTwiceError as error:
        raise DataError(
            [Problem(error.problem.message, line=line, field=error.problem.field, fix=error.problem.fix)]
        ) from None
    except RecursionError:
        raise DataError([Problem("the row is nested too deeply", line=line, fix="flatten it")]) from None
    except ValueError as error:
        raise DataError(
            [Problem(f"a number cannot be read: {error}", line=line, fix="write it as text, in quotes")]
        ) from None
    if _HALF_CHARACTER.search(text, offset, end):
        _refuse_half_characters(value, line)
    return _Found(value, line, end)


def _refuse_half_characters(value: Any, line: int) -> None:
    """Escapes above \\ud800 come in pairs; half a pair is no character and cannot be written back."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("ascii", "backslashreplace").decode()
        _refuse(f"{half} is half a character", line, "write the text as UTF-8, or the escape's other half after it")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NamedTwiceError(Problem("the key stands twice in one object", field=twice, fix="keep one of the two"))
    return fields


def _no_constant(name: str) -> NoReturn:
    raise _NamedTwiceError(Problem(f"{name} is not JSON", fix="write null, or remove the row (pandas: df.dropna())"))


def _skip(text: str, offset: int) -> int:
    return _SPACE.match(text, offset).end()  # type: ignore[union-attr]  # the pattern matches the empty string


def _refuse(message: str, line: int, fix: str) -> NoReturn:
    raise DataError([Problem(message, line=line, fix=fix)])


def _refuse_at(text: str, offset: int, message: str, fix: str) -> NoReturn:
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    _refuse(f"{message} (column {column})", line, fix)
