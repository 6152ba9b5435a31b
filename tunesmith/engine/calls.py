"""Reads tool calls out of an answer's text as it comes, in the form that the model's chat template writes them.

White space between the marks is not compared, so `{"name":"f"` opens a call where the template writes `{"name": "f"`.
What looks like a call but names no tool that was offered, or has no JSON object for its arguments, is text.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tunesmith.types.tool_syntax import Part, ToolSyntax

__all__ = ["ArgumentsDelta", "CallParser", "CallStart", "Found", "TextDelta"]


class TextDelta(NamedTuple):
    """More of the text outside of calls."""

    text: str


class CallStart(NamedTuple):
    """Call number `number` (from 0) begins."""

    number: int
    id: str
    name: str


class ArgumentsDelta(NamedTuple):
    """More of the JSON text of a call's arguments."""

    number: int
    text: str


Found = TextDelta | CallStart | ArgumentsDelta

_MORE, _NO = -1, -2  # the text ends before the mark does; the mark is not there
_CALL_ID = ""


class CallParser:
    """Takes an answer's text in pieces; `names` are the tools that were offered."""

    def __init__(self, syntax: ToolSyntax, names: Collection[str]) -> None:
        self._opening, self._middle, self._closing = map(_marks, (syntax.opening, syntax.middle, syntax.closing))
        self._between = None if syntax.between is None else _marks(syntax.between)
        self._names = sorted(names, key=len, reverse=True)  # a name may be the beginning of another
        self._held = ""
        self._spoken = False
        self._calls = 0
        self._arguments: _Arguments | None = None
        self._behind_call = False

    def push(self, text: str) -> list[Found]:
        """What has become certain with `text`."""
        self._held += text
        return self._read(final=False)

    def finish(self) -> list[Found]:
        """The rest, when nothing follows."""
        return self._read(final=True)

    def _read(self, *, final: bool) -> list[Found]:
        found: list[Found] = []
        while self._held:
            before = (len(self._held), self._arguments is None, self._behind_call)
            if self._arguments is not None:
                found += self._read_arguments(self._arguments)
            elif self._behind_call:
                found += self._leave_call(final=final)
            else:
                found += self._read_text(final=final)
            if before == (len(self._held), self._arguments is None, self._behind_call):
                break
        return found

    def _read_arguments(self, arguments: _Arguments) -> list[Found]:
        end = arguments.read(self._held)
        said, self._held = (self._held, "") if end is None else (self._held[:end], self._held[end:])
        if end is not None:
            self._arguments, self._behind_call = None, True
        return [ArgumentsDelta(self._calls - 1, said)]

    def _leave_call(self, *, final: bool) -> list[Found]:
        """Behind a call: another one, the end of the calls, or text."""
        if self._between is not None:
            end, name = self._call_at(self._between, 0)
            if name is not None:
                return self._begin(name, end)
            if end == _MORE and not final:
                return []
        end = _match(self._closing, self._held, 0)
        if end == _MORE and not final:
            return []
        self._behind_call = False
        if end == _MORE:
            self._held = ""  # the answer broke off inside the mark
        elif end != _NO:
            self._held = self._held[end:]
        return []

    def _read_text(self, *, final: bool) -> list[Found]:
        """Up to the next call, or to where one may begin."""
        for start in self._candidates():
            end, name = self._call_at(self._opening, start)
            if name is not None:
                said = self._say(self._held[:start].rstrip())
                return [*said, *self._begin(name, end)]
            if end == _MORE and not final:
                certain = self._held[:start].rstrip()
                self._held = self._held[len(certain) :]
                return self._say(certain)
        certain = self._held if final else self._held.rstrip()
        if not certain.strip() and self._calls:
            certain = ""  # nothing but white space around calls
        said = self._say(certain)
        self._held = "" if final else self._held[len(certain) :]
        return said

    def _candidates(self) -> list[int]:
        if self._opening:
            return [place for place, character in enumerate(self._held) if character == self._opening[0]]
        return [] if self._spoken or self._calls else [0]

    def _call_at(self, marks: Sequence[str], start: int) -> tuple[int, str | None]:
        """Where the arguments begin, and the call's name; or _MORE or _NO, and None."""
        named = _match(marks, self._held, start)
        if named < 0:
            return named, None
        for name in self._names:
            if self._held.startswith(name, named):
                end = _match((*self._middle, "{"), self._held, named + len(name))
                if end != _NO:
                    return (end, None) if end == _MORE else (end - 1, name)
        rest = self._held[named:]
        return (_MORE if any(name.startswith(rest) for name in self._names) else _NO), None

    def _begin(self, name: str, arguments: int) -> list[Found]:
        self._held = self._held[arguments:]
        self._arguments, self._behind_call = _Arguments(), False
        self._calls += 1
        return [CallStart(self._calls - 1, f"call_{secrets.token_hex(12)}", name)]

    def _say(self, text: str) -> list[Found]:
        self._spoken = self._spoken or bool(text)
        return [TextDelta(text)] if text else []


class _Arguments:
    """How far a JSON object has been read."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def read(self, text: str) -> int | None:
        """Characters up to the end of the object; None when it goes on."""
        for place, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return place + 1
        return None


def _marks(parts: Sequence[Part]) -> tuple[str, ...]:
    """Characters of the text that the parts leave after decoding, white space and special tokens left out."""
    found: list[str] = []
    for part in parts:
        found += [_CALL_ID] if part.call_id else [character for character in part.text if not character.isspace()]
    return tuple(found)


def _match(marks: Sequence[str], text: str, start: int) -> int:
    """Where `marks` end when they begin at `start` of `text`, white space aside; else _MORE or _NO."""
    place = start
    for mark in marks:
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return _MORE
        if mark == _CALL_ID:
            end = place
            while end < len(text) and (text[end].isalnum() or text[end] in "_-"):
                end += 1
            if end == len(text):
                return _MORE
            if end == place:
                return _NO
            place = end
        elif text[place] != mark:
            return _NO
        else:
            place += 1
    return place
