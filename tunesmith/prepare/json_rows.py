"""JSON in its usual shapes to rows: one object a line, an array, a table in one object, objects spread over lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.json_diagnosis import Place
from tunesmith.prepare.json_tables import rows_in_object
from tunesmith.prepare.json_window import Found, Window, decode
from tunesmith.prepare.pieces import numbered_lines
from tunesmith.prepare.table import Reread, Row, Table

__all__ = ["read_json"]

_FIRST_LINES = 50
_MOST_FAULTS = 1000
_OBJECT = re.compile(r"^[ \t]*{", re.MULTILINE)
_SPACE = re.compile(r"[ \t\n]*")
Pieces = Callable[[], Iterator[str]]


def read_json(pieces: Pieces) -> Table:
    """The rows of the text whose pieces `pieces` gives anew each time; its line ends are plain newlines.

    Raises:
        DataError: the file holds no JSON objects. Iterating the rows raises it too: one problem for each line (JSONL;
            reading stops at the thousandth), or the first place where an array breaks, by line and column.
    """
    window = Window(pieces())
    window.read_on()
    start = window.skip(0)
    if window.text[start] == "[":
        return Table("json", Reread(lambda: _array_rows(Window(pieces()))))
    if not _OBJECT.search(window.text):
        beginning = window.text[start : start + 30].split("\n", 1)[0]
        _refuse(
            f"the file holds no JSON objects; it starts with {beginning!r}", 1, "check that the right file was given"
        )
    if _is_line_by_line(pieces):
        return Table("jsonl", Reread(lambda: _line_rows(pieces())))
    return Table("json", Reread(lambda: _value_rows(Window(pieces()))))


def _is_line_by_line(pieces: Pieces) -> bool:
    """Whether lines are meant to be records: one of the first looks like a whole object at the start of its line."""
    first: list[str] = []
    for _, line in numbered_lines(pieces()):
        if line.strip():
            first.append(line.rstrip())
        if len(first) == _FIRST_LINES:
            break
    if len(first) == 1:
        return not _holds_a_table(first[0].strip())
    return any(line[0] == "{" and line.rstrip(",").endswith("}") for line in first)


def _holds_a_table(line: str) -> bool:
    try:
        found = decode(line, Place(0, 1), last=True)
    except DataError:
        return False
    whole = found.end == len(line) and isinstance(found.value, dict)
    return whole and rows_in_object(found.value, found.line) is not None


def _line_rows(pieces: Iterator[str]) -> Iterator[Row]:
    faults: list[Problem] = []
    held: tuple[int, str] | None = None
    for number, line in numbered_lines(pieces):
        if not line.strip():
            continue
        if held:
            yield from _line_row(*held, faults, last=False)
        held = number, line
        if len(faults) >= _MOST_FAULTS:
            raise DataError(faults)
    if held:
        yield from _line_row(*held, faults, last=True)
    if faults:
        raise DataError(faults)


def _line_row(number: int, line: str, faults: list[Problem], *, last: bool) -> Iterator[Row]:
    """The row of one line; none, and what is wrong with it added to `faults`, when it is not one object."""
    try:
        found = decode(line, Place(_SPACE.match(line).end(), number), last=last)  # type: ignore[union-attr]  # see above
        _refuse_rest(line, found, number)
        yield _as_row(found.value, number)
    except DataError as error:
        faults.extend(error.problems)


def _refuse_rest(line: str, found: Found, number: int) -> None:
    rest = line[found.end :].strip()
    if not rest:
        return
    if rest == ",":
        fix = "remove the comma: JSONL has one object a line and nothing between"
        _refuse("the line ends with a comma", number, fix)
    if rest.startswith(("{", ",")):
        _refuse("the line holds several objects", number, "write one object a line")
    column = line.index(rest, found.end) + 1
    _refuse(f"something follows the object at column {column}: {rest[:30]!r}", number, "write one object a line")


def _array_rows(window: Window) -> Iterator[Row]:
    """Rows of the array that the text begins with."""
    offset = window.skip(window.skip(0) + 1)
    if window.text[offset : offset + 1] == "]":
        return
    while True:
        found = window.value(offset)
        yield _as_row(found.value, found.line)
        offset = window.skip(window.forget(found.end))
        mark = window.text[offset : offset + 1]
        if mark == "]":
            break
        if mark != ",":
            _refuse_in_array(window, offset, mark)
        offset = window.skip(offset + 1)
        if window.text[offset : offset + 1] == "]":
            window.refuse(offset, "the array has a comma after its last row", "remove that comma")
    offset = window.skip(offset + 1)
    if offset < len(window.text):
        rest = window.text[offset : offset + 30]
        window.refuse(offset, f"something follows the array: {rest!r}", "keep one array, nothing after")


def _refuse_in_array(window: Window, offset: int, mark: str) -> NoReturn:
    if not mark:
        fix = "close it with ], or fetch the whole file again"
        window.refuse(offset, "the file ends inside the array", fix)
    if mark == "{":
        window.refuse(offset, "a comma is missing between two rows", "put a comma after the row before")
    window.refuse(offset, f"expected a comma or ], found {mark!r}", "separate rows by commas")


def _value_rows(window: Window) -> Iterator[Row]:
    """Rows of values one after the other, each over any number of lines; a lone object may hold a whole table."""
    first: Found | None = None
    offset = window.skip(0)
    while offset < len(window.text) or window.read_on():
        found = window.value(offset)
        offset = window.skip(window.forget(found.end))
        if window.text[offset : offset + 1] == ",":
            window.refuse(offset, "a comma between objects outside an array", "enclose the objects in [ ]")
        if first is None and offset == len(window.text):
            yield from _alone(found)
            return
        first = first or found
        yield _as_row(found.value, found.line)


def _alone(found: Found) -> Iterator[Row]:
    table = rows_in_object(found.value, found.line) if isinstance(found.value, dict) else None
    yield from table if table is not None else [_as_row(found.value, found.line)]


def _as_row(value: Any, line: int) -> Row:
    if isinstance(value, dict):
        return Row(line, value)
    kind = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
    raise DataError([Problem(f"a row must be an object, this is {kind}", line=line, fix='write {"key": value, ...}')])


def _refuse(message: str, line: int, fix: str) -> NoReturn:
    raise DataError([Problem(message, line=line, fix=fix)])
