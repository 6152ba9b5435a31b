"""Says in plain words why a text is not JSON, at which line and column, in which field, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from tunesmith.errors import Problem

__all__ = ["Place", "diagnose"]

_KEY = re.compile(r'"((?:[^"\\\n]|\\.)*)"\s*:')
_BARE_KEY = re.compile(r"([A-Za-z_][\w.-]*)\s*:")
_PYTHON: Mapping[str, str] = {"T": "True", "F": "False", "N": "None"}


class Place(NamedTuple):
    """Where a value starts: its offset in the text at hand, its line, and the characters of that text's first line
    that came before the text.
    """

    offset: int
    line: int
    before: int = 0


def diagnose(text: str, start: Place, error: json.JSONDecodeError, *, may_be_cut: bool) -> Problem:
    """The problem behind `error`, which json raised for the value that starts at `start`."""
    at, message = min(error.pos, len(text)), error.msg
    found_line = start.line + text.count("\n", start.offset, at)
    line_end = text.rfind("\n", 0, at)
    column = at - line_end if line_end >= 0 else at + 1 + start.before
    what, fix = _explain(text, at, message, may_be_cut)
    bare = _BARE_KEY.match(text, at) if message.startswith("Expecting property name") else None
    field = bare.group(1) if bare else _last_key(text, start.offset, at)
    return Problem(f"{what} (column {column})", line=found_line, field=field, fix=fix)


def _last_key(text: str, start: int, at: int) -> str | None:
    """The last key before `at`: the field that was being read."""
    keys = _KEY.findall(text, start, at)
    return str(keys[-1]) if keys else None


def _explain(text: str, at: int, message: str, may_be_cut: bool) -> tuple[str, str]:
    rest = text[at:]
    ends = not rest.strip()
    if message.startswith("Unterminated string"):
        if may_be_cut and "\n" not in rest.rstrip("\n"):
            return "the text that starts here is cut off", "fetch or write the file again: its end is missing"
        return "the text that starts here is never closed", 'close it with "; write a line end inside a text as \\n'
    if ends and may_be_cut:
        return "the row is cut off", "fetch or write the file again: its end is missing"
    if ends:
        return "the row ends too early", "close its brackets, and write one object a line"
    if message.startswith("Expecting property name"):
        return _explain_key(rest)
    if message.startswith("Illegal trailing comma"):
        return "a comma before the closing bracket", "remove that comma"
    if message.startswith("Invalid control character"):
        return "a raw line end or tab inside a text", "write it as \\n or \\t"
    if message.startswith("Invalid \\"):
        return "a backslash that JSON does not know", "write a backslash as \\\\"
    if message.startswith("Expecting ':'"):
        return "a colon is missing after the key", 'write "key": value'
    if message.startswith("Expecting ','"):
        return _explain_comma(rest)
    return _explain_value(rest)


def _explain_key(rest: str) -> tuple[str, str]:
    bare = _BARE_KEY.match(rest)
    if bare:
        return f"the key {bare.group(1)} is not in quotes", f'write "{bare.group(1)}":'
    if rest.startswith("'"):
        return "a key in single quotes", "use double quotes (Python: json.dumps, not str)"
    if rest.startswith(("}", "]")):
        return "a comma before the closing bracket", "remove that comma"
    return f"expected a key in quotes, found {rest[:20]!r}", 'write "key": value'


def _explain_comma(rest: str) -> tuple[str, str]:
    if rest.startswith(('"', "{", "[")):
        return "a comma is missing before this", "put a comma between the two"
    return "an unescaped quote ended the text here", 'write a quote inside a text as \\"'


def _explain_value(rest: str) -> tuple[str, str]:
    if rest.startswith("'"):
        return "a text in single quotes", "use double quotes (Python: json.dumps, not str)"
    python = _PYTHON.get(rest[0])
    if python and rest.startswith(python):
        json_word = {"True": "true", "False": "false", "None": "null"}[python]
        return f"{python} is Python, not JSON", f"write {json_word} (Python: json.dumps, not str)"
    if rest.startswith(("}", "]", ",")):
        return "a value is missing", "write a value, or remove the key or comma before it"
    word = re.split(r"[\s,}\]]", rest, maxsplit=1)[0][:30]
    return f"the value {word!r} is not in quotes", "put texts in double quotes"
