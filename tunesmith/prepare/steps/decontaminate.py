"""Leaves out rows that hold questions of named evaluation sets: a model that saw them cannot be measured by them.

The measure of Brown et al. 2020 (arXiv:2005.14165, appendix C) in the form of Tulu 3 (arXiv:2411.15124): the share of a
question's normalised n-grams of words that a row contains.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from tunesmith.prepare.content import normalised
from tunesmith.prepare.eval_texts import EvalText, eval_files, eval_texts
from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import passages
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Decontaminate"]

_WORD = re.compile(r"\w+")
_SHOWN = 120


class Decontaminate(Value):
    """Rows that contain `overlap` or more of the n-grams (runs of `n` words) of a question in `against`.

    `against` names files of evaluation sets, in any format that is read. A question of fewer than `n` words counts when
    a message says all of it and nothing else. `answers: true` looks for the sets' answers too (those of `n` words or
    more).
    """

    against: tuple[str, ...] = Field(min_length=1, examples=[["eval/questions.jsonl"]])
    n: int = Field(default=8, ge=2, le=50)
    overlap: float = Field(default=0.5, gt=0.0, le=1.0)
    answers: bool = False
    action: Literal["report", "drop"] = "drop"

    def files(self, folder: Path) -> tuple[Path, ...]:
        """The evaluation sets."""
        return tuple(Path(file.place) for file in eval_files(self.against, folder) if isinstance(file.place, Path))

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The comparison of one row. Drop reason: contaminated; the finding shows counts, place and question."""
        index = _index(eval_texts(self.against, folder), self.n, self.answers)

        def compare(row: Row) -> Outcome:
            hit = self._hit(row, index)
            if hit is None:
                return Outcome(row)
            findings = (Finding("contaminated", hit),)
            return Outcome(None, "contaminated", findings) if self.action == "drop" else Outcome(row, findings=findings)

        return compare

    def _hit(self, row: Row, index: _Index) -> str | None:
        """The evaluation text that the row contains most of, in words; None when it contains too little of any."""
        shared: Counter[int] = Counter()
        grams: set[int] = set()
        for passage in passages(row):
            words = _words(passage.text)
            if len(words) < self.n and passage.role != "assistant":
                whole = index.short.get(" ".join(words))
                if whole is not None:
                    return f"is {whole.where}: {whole.text[:_SHOWN]!r}"
            grams |= _grams(words, self.n)
        for gram in grams:
            shared.update(index.grams.get(gram, ()))
        shares = {number: count / index.sizes[number] for number, count in shared.items()}
        best = max(shares, key=lambda number: (shares[number], -number), default=None)
        if best is None or shares[best] < self.overlap:
            return None
        found, text = index.texts[best], f"{shared[best]} of {index.sizes[best]}"
        return f"{shares[best]:.0%} ({text} runs of {self.n} words) of {found.where}: {found.text[:_SHOWN]!r}"


class _Index(NamedTuple):
    texts: list[EvalText]
    sizes: list[int]
    """number of distinct n-grams of each text"""
    grams: Mapping[int, array[int]]
    """the texts that have an n-gram, by its hash"""
    short: Mapping[str, EvalText]
    """texts too short for an n-gram, by their words"""


def _index(found: Iterable[EvalText], n: int, with_answers: bool) -> _Index:
    texts: list[EvalText] = []
    sizes: list[int] = []
    grams: dict[int, array[int]] = {}
    short: dict[str, EvalText] = {}
    for each in found:
        sides = (each, each._replace(text=each.answer)) if with_answers else (each,)
        for side in sides:
            words = _words(side.text)
            hashes = _grams(words, n)
            if not hashes and words and side is each:
                short.setdefault(" ".join(words), side)
            if hashes:
                for gram in hashes:
                    grams.setdefault(gram, array("q")).append(len(texts))
                texts.append(side)
                sizes.append(len(hashes))
    return _Index(texts, sizes, grams, short)


def _words(text: str) -> list[str]:
    return _WORD.findall(normalised(text))


def _grams(words: list[str], n: int) -> set[int]:
    """Distinct 64-bit hashes of all runs of n words."""
    hashes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    return {_fold(hashes[start : start + n]) for start in range(len(words) - n + 1)}


def _fold(hashes: list[int]) -> int:
    value = 0
    for each in hashes:
        value = (value * 0x100000001B3 ^ each) & 0xFFFFFFFFFFFFFFFF
    return value
