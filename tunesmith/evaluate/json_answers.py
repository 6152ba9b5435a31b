"""JSON in an answer: as it stands, and after mechanical repairs that guess no content.

The repairs, each by its name:

    code_fence        the JSON is in a Markdown code block
    surrounding_text  words stand before or after it
    single_quotes     texts or names in single or curly quotes
    bare_names        names of an object without quotes
    python_words      True, False and None
    trailing_comma    a comma before a closing bracket
    raw_control       line breaks or tabs inside a text
    comments          // to the end of a line, /* ... */

What is cut off, lacks a comma or a bracket, or says NaN is not repaired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Repaired", "read_json", "repaired"]

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_SPACE = re.compile(r"\s*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_BARE = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS = (("true", True), ("false", False), ("null", None), ("True", True), ("False", False), ("None", None))
_CLOSING = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))
_STARTS = 20
_DEEPEST = 100


class Repaired(NamedTuple):
    """A JSON value found in an answer and the repairs that it took."""

    value: Any
    repairs: frozenset[str]


def read_json(text: str) -> Any:
    """The JSON value that `text` is, by RFC 8259: nothing around it, no NaN or Infinity. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def repaired(text: str) -> Iterator[Repaired]:
    """The values that repairs make of `text`, the likeliest first: the whole, code blocks, then from a bracket on."""
    for piece, repairs in _pieces(text):
        reader = _Lenient(piece)
        try:
            value = reader.value(0)
            reader.skip()
        except ValueError:
            continue
        rest = {"surrounding_text"} if reader.place < len(piece) else set()
        if not rest or piece[0] in "{[":
            yield Repaired(value, frozenset(repairs | reader.repairs | rest))


def _pieces(text: str) -> Iterator[tuple[str, set[str]]]:
    whole = text.strip()
    if whole:
        yield whole, set()
    for block in _FENCE.finditer(text):
        around = text[: block.start()].strip() + text[block.end() :].strip()
        if block.group(1).strip():
            yield block.group(1).strip(), {"code_fence", *(("surrounding_text",) if around else ())}
    for start in [match.start() for match in re.finditer(r"[{\[]", whole)][:_STARTS]:
        if start:
            yield whole[start:], {"surrounding_text"}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class _Lenient:
    """Reads one value from the beginning of a text and notes every repair. Raises ValueError where it cannot."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.repairs: set[str] = set()

    def skip(self) -> None:
        """White space and comments."""
        while True:
            self.place = self._end(_SPACE)
            found = _COMMENT.match(self.text, self.place)
            if not found:
                return
            self.repairs.add("comments")
            self.place = found.end()

    def value(self, depth: int) -> Any:
        """The value that begins here."""
        self.skip()
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        letter = self.text[self.place : self.place + 1]
        if letter == "{":
            return dict(self._members("}", depth))
        if letter == "[":
            return [value for _, value in self._members("]", depth)]
        for opening, closing in _CLOSING:
            if letter == opening:
                return self._quoted(closing)
        number = _NUMBER.match(self.text, self.place)
        if number:
            self.place = number.end()
            return json.loads(number.group())
        word = _BARE.match(self.text, self.place)
        for name, value in _WORDS:
            if word and word.group() == name:
                self.repairs |= {"python_words"} if name[0].isupper() else set()
                self.place = word.end()
                return value
        raise ValueError(f"no value at {self.place}")

    def _members(self, closing: str, depth: int) -> Iterator[tuple[str, Any]]:
        """(name, value) of an object's members; the name of an array's is empty."""
        self.place += 1
        self.skip()
        while not self._takes(closing):
            name = self._name() if closing == "}" else ""
            yield name, self.value(depth + 1)
            self.skip()
            if self._takes(","):
                self.skip()
                if self.text.startswith(closing, self.place):
                    self.repairs.add("trailing_comma")
            elif not self.text.startswith(closing, self.place):
                raise ValueError(f"neither , nor {closing} at {self.place}")

    def _name(self) -> str:
        bare = _BARE.match(self.text, self.place)
        if bare:
            self.repairs.add("bare_names")
            self.place = bare.end()
            name: Any = bare.group()
        else:
            name = self.value(_DEEPEST)
        self.skip()
        if not isinstance(name, str) or not self._takes(":"):
            raise ValueError(f"no name and colon at {self.place}")
        return name

    def _quoted(self, closing: str) -> str:
        """A text up to its closing quote; escapes are JSON's."""
        start = self.place + 1
        end = start
        while end < len(self.text) and self.text[end] != closing:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise ValueError("a text without an end")
        inner = self.text[start:end]
        if closing != '"':
            self.repairs.add("single_quotes")
            inner = re.sub(r'\\(.)|"', _requoted, inner, flags=re.DOTALL)
        if re.search(r"[\x00-\x1f]", inner):
            self.repairs.add("raw_control")
        self.place = end + 1
        return str(json.loads(f'"{inner}"', strict=False))

    def _takes(self, letter: str) -> bool:
        found = self.text.startswith(letter, self.place)
        self.place += found
        return found

    def _end(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.place)
        return found.end() if found else self.place


def _requoted(found: re.Match[str]) -> str:
    """Quotes as they stand between double quotes: 'it\\'s "so"' -> it's \\"so\\"."""
    if found.group(1) in ("'", "\u2018", "\u2019", "\u201c", "\u201d"):
        return found.group(1)
    return '\\"' if found.group() == '"' else found.group()
