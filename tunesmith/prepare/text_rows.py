"""Plain text to rows: a row for each paragraph (between empty lines), each line, or the whole file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from tunesmith.errors import DataError
from tunesmith.prepare.pieces import MOST_CHARACTERS, numbered_lines, too_long
from tunesmith.prepare.table import Reread, Row, Table

__all__ = ["Unit", "read_text"]

Unit = Literal["paragraph", "line", "document"]


def read_text(pieces: Callable[[], Iterator[str]], unit: Unit) -> Table:
    """The rows of the text whose pieces `pieces` gives anew each time, each with one field `text`.

    Raises:
        DataError: while the rows are iterated: a row is longer than `MOST_CHARACTERS`.
    """
    return Table("text", Reread(lambda: _rows(pieces(), unit)))


def _rows(pieces: Iterator[str], unit: Unit) -> Iterator[Row]:
    lines: list[str] = []
    start = length = 0
    for number, line in numbered_lines(pieces):
        blank = not line.strip()
        if lines and (unit == "line" or (unit == "paragraph" and blank)):
            yield _row(start, lines)
            lines, length = [], 0
        if lines or not blank:
            start = start if lines else number
            lines.append(line)
            length += len(line) + 1
        if length > MOST_CHARACTERS:
            raise DataError([too_long(start, unit)])
    if lines:
        yield _row(start, lines)


def _row(start: int, lines: list[str]) -> Row:
    return Row(start, {"text": "\n".join(lines).rstrip()})
