"""Constraints that count: words, sentences, paragraphs, bullets and other pieces of a text.

How the pieces are told apart follows IFEval (Zhou et al. 2023, arXiv:2311.07911); where it needs a downloaded model
(sentences), rules stand in its place.
"""

from __future__ import annotations

import re

from tunesmith.evaluate import sentences as split

__all__ = [
    "bullets",
    "capital_words",
    "highlights",
    "keyword_count",
    "letter_count",
    "paragraph_start",
    "paragraphs",
    "placeholders",
    "sections",
    "sentences",
    "within",
    "words",
]

_TOKEN = re.compile(r"[^\W_]+(?:[.&/-][^\W_]+)*")


def within(count: int, at_least: int | None, at_most: int | None, exactly: int | None) -> bool:
    """Whether `count` is inside the bounds that are given. Raises ValueError when none is."""
    if at_least is None and at_most is None and exactly is None:
        raise ValueError("say how many: at_least, at_most or exactly")
    low_enough = at_most is None or count <= at_most
    return (at_least is None or count >= at_least) and low_enough and (exactly is None or count == exactly)


def words(text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None) -> bool:
    """So many words: runs of letters and digits."""
    return within(len(split.words(text)), at_least, at_most, exactly)


def sentences(
    text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """So many sentences, by rules (IFEval: the Punkt model)."""
    return within(len(split.sentences(text)), at_least, at_most, exactly)


def paragraphs(
    text: str,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    exactly: int | None = None,
    mark: str = "",
) -> bool:
    """So many paragraphs, between blank lines or between `mark`s (IFEval: ***); with a mark, one without text inside
    the answer fails.
    """
    parts = re.split(rf"\s?{re.escape(mark)}\s?" if mark else r"\n\s*\n", text)
    if mark and not all(part.strip() for part in parts[1:-1]):
        return False
    return within(sum(bool(part.strip()) for part in parts), at_least, at_most, exactly)


def paragraph_start(text: str, *, number: int, word: str, paragraphs: int | None = None) -> bool:
    """Paragraph `number` (from 1, between blank lines) begins with `word`; there are `paragraphs` of them."""
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if not 1 <= number <= count or not parts[number - 1].strip():
        return False
    first = re.match(r"[^.,?!'\"]*", parts[number - 1].split()[0].lstrip("'").lstrip('"'))
    begins = first is not None and first.group().lower() == word.lower()
    return begins and (paragraphs is None or count == paragraphs)


def bullets(text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None) -> bool:
    """So many lines that begin with * or -."""
    return within(len(re.findall(r"^[^\S\n]*(?:\*[^*\n]|-)", text, re.MULTILINE)), at_least, at_most, exactly)


def highlights(
    text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """So many *highlighted* or **highlighted** pieces, each inside one line."""
    single = [piece.strip("*") for piece in re.findall(r"\*[^\n*]*\*", text)]
    double = [piece[2:-2] for piece in re.findall(r"\*\*[^\n*]*\*\*", text)]
    return within(sum(bool(piece.strip()) for piece in single + double), at_least, at_most, exactly)


def sections(
    text: str,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    exactly: int | None = None,
    mark: str = "Section",
) -> bool:
    """So many sections, each opened by `mark` and a number: "Section 1"."""
    return within(len(re.findall(rf"{re.escape(mark)}\s?\d+", text)), at_least, at_most, exactly)


def placeholders(
    text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """So many placeholders such as [address]."""
    return within(len(re.findall(r"\[.*?\]", text)), at_least, at_most, exactly)


def capital_words(
    text: str, *, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """So many words in capital letters only ("I" is one)."""
    return within(sum(word.isupper() for word in _TOKEN.findall(text)), at_least, at_most, exactly)


def keyword_count(
    text: str, *, word: str, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """`word` occurs so many times, in any case, inside other words too (as in IFEval)."""
    return within(len(re.findall(re.escape(word), text, re.IGNORECASE)), at_least, at_most, exactly)


def letter_count(
    text: str, *, letter: str, at_least: int | None = None, at_most: int | None = None, exactly: int | None = None
) -> bool:
    """The character `letter` occurs so many times, in any case."""
    if len(letter) != 1:
        raise ValueError(f"letter is one character, found {letter!r}")
    return within(text.lower().count(letter.lower()), at_least, at_most, exactly)
