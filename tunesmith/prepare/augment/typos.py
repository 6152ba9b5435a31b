"""Injects the errors that people make when they type; needs no model."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.prepare.augmentation import Drawing, Unmade, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["Typos"]

_NEIGHBOURS: Mapping[str, str] = MappingProxyType(
    {
        "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl",
        "p": "o", "a": "qsz", "s": "adwx", "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jli",
        "l": "ko", "z": "xa", "x": "zcs", "c": "xvd", "v": "cbf", "b": "vng", "n": "bmh", "m": "nj",
    }
)  # fmt: skip
_WORD = re.compile(r"[^\W\d_]{4,}")


class Typos(Way):
    """One letter changed in `rate` of the words of four letters or more (at least one), and the `casing` of the text.

    Errors: two letters swapped, one left out, one doubled, one hit beside (QWERTY). Numbers, short words and first
    letters stay, so that the meaning does.
    """

    model: ClassVar[bool] = False
    rate: float = Field(default=0.15, gt=0.0, le=1.0)
    casing: Literal["keep", "lower", "upper", "any"] = "keep"

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with errors in one text."""
        text = text_of(row, self.side)
        words = list(_WORD.finditer(text))
        if not words:
            raise Unmade("nothing_to_change")
        count = max(1, round(self.rate * len(words)))
        for word in sorted(drawing.random.sample(words, count), key=lambda hit: -hit.start()):
            text = text[: word.start()] + _misspelt(word.group(), drawing.random) + text[word.end() :]
        casing = drawing.random.choice(("keep", "lower", "upper")) if self.casing == "any" else self.casing
        cased = {"keep": text, "lower": text.lower(), "upper": text.upper()}
        return changed_text(row, self.side, cased[casing])


def _misspelt(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word) - 1)
    kind = chance.choice(("swap", "drop", "double", "neighbour"))
    if kind == "swap" and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "double":
        return word[: at + 1] + word[at:]
    beside = _NEIGHBOURS.get(word[at].lower())
    if kind == "neighbour" and beside:
        return word[:at] + chance.choice(beside) + word[at + 1 :]
    return word[:at] + word[at + 1 :]
