"""Which lines of a text are code, where white space carries meaning."""

from __future__ import annotations

import re

__all__ = ["code_lines"]

_FENCE = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import|return\b|for .+:$|while .+:$|if .+:$|else:|elif .+:$|try:|except\b"
    r"|#include|function\b|const |let |var |public |private |SELECT\b|INSERT\b|@\w+)"
    r"|[{};]\s*$|^\s*[\w.\[\]]+\s*[-+*/]?=\s*\S|\w\(.*\)\s*:?$"
)
_SHARE = 0.3


def code_lines(lines: list[str]) -> list[bool]:
    """For each line whether it is code.

    Code are lines between fences, indented lines, and every line of a text of two lines or more of which 30% look like
    code (a text that is a program without fences).
    """
    filled = [line for line in lines if line.strip()]
    looks = sum(bool(_CODE.search(line)) for line in filled)
    if len(filled) > 1 and looks >= _SHARE * len(filled):
        return [True] * len(lines)
    fenced, marks = False, []
    for line in lines:
        fence = bool(_FENCE.match(line))
        marks.append(fenced or fence or line.startswith(("    ", "\t")))
        fenced ^= fence
    return marks
