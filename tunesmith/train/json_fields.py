"""Where the fields of a JSON answer stand in its text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Field", "json_fields"]


class Field(NamedTuple):
    """The value of one field: characters [start, end) of the text."""

    name: str
    """keys from the root joined by dots; lists on the way add nothing"""
    start: int
    end: int


def json_fields(text: str) -> tuple[Field, ...]:
    """All fields of the first JSON object or list in `text`, at any depth; () when there is none.

    `{"a": {"b": 1}, "c": [{"d": "x"}]}` has the fields a.b, a, c.d and c.
    """
    start = _json_start(text)
    if start is None:
        return ()
    found: list[Field] = []
    _scan(text, start, "", found)
    return tuple(found)


def _json_start(text: str) -> int | None:
    decoder = json.JSONDecoder()
    for start in _openings(text):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if value:
            return start
    return None


def _openings(text: str) -> Iterator[int]:
    return (index for index, character in enumerate(text) if character in "{[")


def _scan(text: str, at: int, name: str, found: list[Field]) -> int:
    """The end of the valid JSON value that starts at `at`; its fields are added to `found`."""
    if text[at] == "{":
        at = _skip(text, at + 1)
        while text[at] != "}":
            key, at = json.JSONDecoder().raw_decode(text, at)
            start = _skip(text, _skip(text, at) + 1)
            inside = f"{name}.{key}" if name else key
            end = _scan(text, start, inside, found)
            found.append(Field(inside, start, end))
            at = _next(text, end)
        return at + 1
    if text[at] == "[":
        at = _skip(text, at + 1)
        while text[at] != "]":
            at = _next(text, _scan(text, at, name, found))
        return at + 1
    return json.JSONDecoder().raw_decode(text, at)[1]


def _next(text: str, at: int) -> int:
    """Past white space and a comma."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at
