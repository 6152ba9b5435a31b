"""A stretch of a JSON text that is read on as far as its reader needs and forgotten behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.json_diagnosis import Place, diagnose
from tunesmith.prepare.pieces import MOST_CHARACTERS, too_long

__all__ = ["MOST_LEVELS", "Found", "Window", "decode"]

MOST_LEVELS = 100
"""How deeply objects and arrays may lie in each other."""
_SPACE = re.compile(r"[ \t\n]*")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_FORGET = 1 << 20
_LONGEST_WORD = 16  # no literal that JSON knows is longer; what is read wrongly that far from the end stays wrong


class Found(NamedTuple):
    """A JSON value, the line it starts at (from 1) and the offset one past its end."""

    value: Any
    line: int
    end: int


class Window:
    """The text between what is forgotten and what is not read yet; offsets count from its beginning."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self.text = ""
        self._pieces = iter(pieces)
        self._line, self._counted, self._column = 1, 0, 0
        self._at_end = False

    def read_on(self) -> bool:
        """Read as much again as is held (at least a piece); False when nothing is left."""
        fresh: list[str] = []
        wanted = len(self.text)
        while not self._at_end and sum(map(len, fresh)) <= wanted:
            piece = next(self._pieces, None)
            self._at_end = piece is None
            fresh.append(piece or "")
        self.text += "".join(fresh)
        return any(fresh)

    def skip(self, offset: int) -> int:
        """The offset of the next character that is no white space, or of the end."""
        while True:
            offset = _SPACE.match(self.text, offset).end()  # type: ignore[union-attr]  # it matches the empty string
            if offset < len(self.text) or not self.read_on():
                return offset

    def line_at(self, offset: int) -> int:
        """The line of `offset`, which never goes back."""
        self._line += self.text.count("\n", self._counted, offset)
        self._counted = offset
        return self._line

    def forget(self, offset: int) -> int:
        """Forget the text before `offset` when it is much; the offset of the same character afterwards."""
        if offset < _FORGET:
            return offset
        self.line_at(offset)
        self._column = self.column_at(offset) - 1
        self.text, self._counted = self.text[offset:], 0
        return 0

    def column_at(self, offset: int) -> int:
        """The column of `offset`, from 1."""
        before = self.text.rfind("\n", 0, offset)
        return offset - before if before >= 0 else offset + 1 + self._column

    def value(self, offset: int) -> Found:
        """The value that starts at `offset`. Raises DataError: it is not JSON, too long, or cut off."""
        line = self.line_at(offset)
        while True:
            try:
                found = decode(self.text, Place(offset, line, self._column), last=self._at_end)
                if found.end < len(self.text) or isinstance(found.value, dict | list) or not self.read_on():
                    return found
            except _UnfinishedError as error:
                if len(self.text) - offset > MOST_CHARACTERS:
                    raise DataError([too_long(line, "row")]) from None
                if not self.read_on():
                    raise DataError(error.problems) from None

    def refuse(self, offset: int, message: str, fix: str) -> NoReturn:
        """Raise DataError about what stands at `offset`."""
        where = f"{message} (column {self.column_at(offset)})"
        raise DataError([Problem(where, line=self.line_at(offset), fix=fix)])


class _UnfinishedError(DataError):
    """The text ends before the value does: more text may complete it."""


class _BentError(ValueError):
    """An object names a key twice, or holds NaN or Infinity: JSON readers would silently lose or bend data."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def decode(text: str, start: Place, *, last: bool) -> Found:
    """The value at `start`; `last` says whether a premature end may be the file's end.

    Raises:
        DataError: what is wrong, by line, column and field.
    """
    try:
        value, end = _DECODER.raw_decode(text, start.offset)
    except json.JSONDecodeError as error:
        problem = diagnose(text, start, error, may_be_cut=last)
        unfinished = error.msg.startswith("Unterminated string") or error.pos + _LONGEST_WORD >= len(text)
        raise (_UnfinishedError if unfinished else DataError)([problem]) from None
    except _BentError as error:
        bent = error.problem
        raise DataError([Problem(bent.message, line=start.line, field=bent.field, fix=bent.fix)]) from None
    except RecursionError:
        raise DataError([_too_deep(start.line)]) from None
    except ValueError as error:
        fix = "write it as text, in quotes"
        raise DataError([Problem(f"a number cannot be read: {error}", line=start.line, fix=fix)]) from None
    if (
        text.count("{", start.offset, end) + text.count("[", start.offset, end) > MOST_LEVELS
        and _levels(value) > MOST_LEVELS
    ):
        raise DataError([_too_deep(start.line)])
    if _HALF_CHARACTER.search(text, start.offset, end):
        _refuse_half_characters(value, start.line)
    return Found(value, start.line, end)


def _levels(value: Any) -> int:
    """How deeply arrays and objects lie in each other."""
    deepest, inside = 0, [(value, 1)]
    while inside:
        each, level = inside.pop()
        if isinstance(each, dict | list):
            deepest = max(deepest, level)
            inside += [(part, level + 1) for part in (each.values() if isinstance(each, dict) else each)]
    return deepest


def _too_deep(line: int) -> Problem:
    return Problem(f"the row is nested too deeply: over {MOST_LEVELS} levels", line=line, fix="flatten it")


def _refuse_half_characters(value: Any, line: int) -> None:
    """Escapes above \\ud800 come in pairs; half a pair is no character and cannot be written back."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("ascii", "backslashreplace").decode()
        fix = "write the text as UTF-8, or the escape's other half after it"
        raise DataError([Problem(f"{half} is half a character", line=line, fix=fix)]) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BentError(Problem("the key stands twice in one object", field=twice, fix="keep one of the two"))
    return fields


def _no_constant(name: str) -> NoReturn:
    raise _BentError(Problem(f"{name} is not JSON", fix="write null, or remove the row (pandas: df.dropna())"))


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _BentError(Problem(f"the number {digits[:30]} is too large", fix="write it as text, in quotes"))
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
