"""Sentences and words of a text, by rules that need no model."""

from __future__ import annotations

import re

__all__ = ["sentences", "words"]

_ABBREVIATED = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e", "inc", "ltd", "co",
    "corp", "dept", "fig", "al", "approx", "est", "gen", "rev", "hon", "z.b", "d.h", "bzw", "ca", "nr",
))  # fmt: skip
_ENDS = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f\u0964]+[\u300d\u300f\u201d)]*")
_BREAKS = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*\u2022]\s|\d+[.)]\s))")
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, as IFEval counts words: "it's 3.5" has four."""
    return re.findall(r"\w+", text)


def sentences(text: str) -> list[str]:
    """The sentences of `text`, trimmed, without list marks; blank lines and list items end one too.

    Full stops of abbreviations ("Dr."), initials ("J. Smith"), numbers ("3.5") and list marks ("1.") end none.
    """
    found: list[str] = []
    for block in _BREAKS.split(text):
        begin = 0
        block = _LIST_MARK.sub("", block)
        for end in _ENDS.finditer(block):
            if not _is_abbreviation(block[begin : end.start()], end.group()):
                found.append(block[begin : end.end()])
                begin = end.end()
        found.append(block[begin:])
    return [sentence.strip() for sentence in found if any(map(str.isalnum, sentence))]


def _is_abbreviation(before: str, mark: str) -> bool:
    if not mark.startswith(".") or len(mark) > 1:
        return False
    last = before.rsplit(maxsplit=1)[-1].lstrip("(\"'[") if before.split() else ""
    return last.casefold() in _ABBREVIATED or (len(last) == 1 and last.isalpha() and last.isupper() and last != "I")
