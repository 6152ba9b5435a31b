"""Makes text regular without changing what it says: Unicode form, invisible characters, white space, boilerplate."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from tunesmith.errors import Problem, RecipeError
from tunesmith.prepare.code_lines import code_lines
from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import passages, rewritten
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Clean"]

Change = Callable[[str], str]

_LATIN = r"[\x00-\u024f]"
# Zero-width space, word joiner, byte order mark, soft hyphen always; the joiners only in Latin text, since emoji and
# Persian and Indic scripts need them.
_INVISIBLE = re.compile(rf"[\u200b\u2060\ufeff\u00ad]|(?<={_LATIN})[\u200c\u200d](?={_LATIN})")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"(?<=\S)[ \u00a0\u2000-\u200a\u202f\u205f\u3000]+")  # indentation stays
_BLANK_LINES = re.compile(r"\n{3,}")
_BOILERPLATE = re.compile(
    r"^[ \t]*(?:sent from my (?:iphone|ipad|android|mobile|samsung|blackberry)\b.{0,40}"
    r"|(?:click here|to unsubscribe|unsubscribe)\b.{0,80}\bunsubscrib\w*.{0,80}|unsubscribe here.{0,40}"
    r"|(?:we use|this (?:web)?site uses) cookies\b.{0,200}"
    r"|(?:copyright|©|\(c\))[^\n]{0,80}all rights reserved\.?"
    r"|all rights reserved\.?"
    r"|(?:subscribe to|sign up for) our newsletter.{0,80}"
    r"|share (?:this )?on (?:facebook|twitter|x|linkedin)\b.{0,40}"
    r"|skip to (?:main )?content)[ \t]*$\n?",
    re.IGNORECASE | re.MULTILINE,
)


class Clean(Value):
    """Regular text in every message, each kind of change reported.

    `unicode`: NFC joins letters with their accents; NFKC also folds look-alikes such as ligatures. `invisible` removes
    zero-width and control characters (line ends become \\n). `whitespace` makes runs of spaces one space and of blank
    lines one, outside code. `boilerplate` removes lines such as "Sent from my iPhone"; `remove` lists regular
    expressions whose matches go too. A row is dropped as empty_after_cleaning when a text of it is left with nothing.
    """

    unicode: Literal["NFC", "NFKC", "off"] = "NFC"
    invisible: bool = True
    whitespace: bool = True
    boilerplate: bool = True
    remove: tuple[str, ...] = Field(default=(), examples=[[r"\[\d+\]"]])

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The cleaning of one row. Raises RecipeError when an expression of `remove` is none."""
        changes = tuple(self._changes())

        def clean(row: Row) -> Outcome:
            kinds: dict[str, None] = {}

            def cleaned(text: str) -> str:
                for kind, change in changes:
                    better = change(text)
                    if better != text:
                        kinds[kind] = None
                    text = better
                return text

            new = rewritten(row, cleaned)
            findings = tuple(Finding(f"cleaned_{kind}") for kind in kinds)
            emptied = new is not row and _filled(new) < _filled(row)
            return Outcome(None, "empty_after_cleaning", findings) if emptied else Outcome(new, findings=findings)

        return clean

    def _changes(self) -> Iterator[tuple[str, Change]]:
        if self.invisible:
            yield "line_ends", lambda text: text.replace("\r\n", "\n").replace("\r", "\n")
            yield "invisible", lambda text: _CONTROL.sub("", _INVISIBLE.sub("", text))
        if self.unicode != "off":
            form = self.unicode
            yield "unicode", lambda text: unicodedata.normalize(form, text)
        if self.boilerplate:
            yield "boilerplate", lambda text: _BOILERPLATE.sub("", text)
        for expression in self.remove:
            yield "removed", _removing(expression)
        if self.whitespace:
            yield "whitespace", _spaced


def _removing(expression: str) -> Change:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        fix = "write a regular expression of Python; put a backslash before characters meant literally"
        raise RecipeError([Problem(f"{expression!r}: {error}", field="clean.remove", fix=fix)]) from None
    return lambda text: pattern.sub("", text)


def _filled(row: Row) -> int:
    """How many texts of the row say something."""
    return sum(bool(passage.text.strip()) for passage in passages(row))


def _spaced(text: str) -> str:
    lines = text.split("\n")
    marks = code_lines(lines)
    if all(marks):
        return text
    lines = [line if code else _SPACES.sub(" ", line).rstrip() for line, code in zip(lines, marks, strict=True)]
    joined = "\n".join(lines)
    return joined.strip("\n") if any(marks) else _BLANK_LINES.sub("\n\n", joined).strip()
