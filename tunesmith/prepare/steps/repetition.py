"""Finds answers that repeat themselves, as models do when they break: such data teaches to loop.

Measures of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1): the share of an answer's characters that are in
repeated lines, in its most frequent n-gram (n 2 to 4), and in n-grams that occur twice or more (n 5 to 10).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import answers
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Repetition"]

_TOP: Mapping[int, float] = MappingProxyType({2: 0.20, 3: 0.18, 4: 0.16})
_REPEATED: Mapping[int, float] = MappingProxyType({5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})
_LINES = 0.30
_LONGEST_RUN = 5


class Repetition(Value):
    """Rows whose wanted answer repeats itself more than Gopher's limits allow, or one word six times in a row.

    Answers under `min_words` are left alone (short answers repeat by chance). `factor` scales the limits: 1.5 allows
    half as much again. Verse, tables and code repeat on purpose: report before you drop.
    """

    action: Literal["report", "drop"] = "report"
    min_words: int = Field(default=20, ge=1)
    factor: float = Field(default=1.0, gt=0.0, le=6.0)

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The measurement of one row. Drop reason: repetition."""

        def measure(row: Row) -> Outcome:
            said = answers(row)[:1]
            trouble = self._trouble(said[0]) if said else ""
            if not trouble:
                return Outcome(row)
            findings = (Finding("repetition", trouble),)
            return Outcome(None, "repetition", findings) if self.action == "drop" else Outcome(row, findings=findings)

        return measure

    def _trouble(self, text: str) -> str:
        """The first limit that the text exceeds, in words; '' when it keeps all."""
        words = text.split()
        if len(words) < self.min_words:
            return ""
        if run := _longest_run(words):
            return run
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        share = sum(len(line) * (count - 1) for line, count in Counter(lines).items()) / len(text)
        if share > _LINES * self.factor:
            return f"{share:.0%} of the answer is in repeated lines (limit {_LINES * self.factor:.0%})"
        letters = sum(map(len, words))
        for size, limit in _TOP.items():
            gram, count = Counter(_grams(words, size)).most_common(1)[0]
            share = count * sum(map(len, gram)) / letters
            if count > 1 and share > limit * self.factor:
                return f"{share:.0%} of the answer is {' '.join(gram)!r} (limit {limit * self.factor:.0%})"
        for size, limit in _REPEATED.items():
            share = _repeated(words, size) / letters
            if share > limit * self.factor:
                return (
                    f"{share:.0%} of the answer is in repeated runs of {size} words (limit {limit * self.factor:.0%})"
                )
        return ""


def _grams(words: list[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(size)), strict=False))


def _repeated(words: list[str], size: int) -> int:
    """Letters in words that a second or later occurrence of an n-gram covers; each word counts once."""
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for start, gram in enumerate(_grams(words, size)):
        if gram in seen:
            covered.update(range(start, start + size))
        seen.add(gram)
    return sum(len(words[index]) for index in covered)


def _longest_run(words: list[str]) -> str:
    run = 1
    for before, word in itertools.pairwise(words):
        run = run + 1 if word == before else 1
        if run > _LONGEST_RUN:
            return f"{word!r} is said more than {_LONGEST_RUN} times in a row"
    return ""
