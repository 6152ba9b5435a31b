"""Finds rude words, and reports them: whether they belong in the data is for people to say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import passages
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Profanity"]

# Stems of words that are rude in any English text; slurs belong in a list of one's own.
_STEMS = (
    "arsehole", "asshole", "bastard", "bitch", "bollocks", "bullshit", "cunt", "dickhead", "fuck", "motherfuck",
    "piss off", "prick", "shit", "slut", "twat", "wank", "whore",
)  # fmt: skip
_FIRST = 5


class Profanity(Value):
    """Rows with words of a list (whole words with their endings), as findings `profanity`; nothing is dropped.

    `words` is a text file of more words, one a line; `built_in: false` takes only those.
    """

    words: str | None = None
    built_in: bool = True

    def files(self, folder: Path) -> tuple[Path, ...]:
        """The list of words."""
        if self.words is None:
            return ()
        if not (folder / self.words).is_file():
            fix = f"paths are relative to {folder}"
            raise DataError([Problem("there is no such file", file=self.words, field="profanity.words", fix=fix)])
        return (folder / self.words,)

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The search in one row. Raises DataError when the list is missing, no text, or there are no words at all."""
        words = list(_STEMS) if self.built_in else []
        for path in self.files(folder):
            try:
                words += [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            except UnicodeDecodeError as error:
                problem = Problem(f"is not UTF-8 at byte {error.start}", file=self.words, fix="save it as UTF-8")
                raise DataError([problem]) from None
        if not words:
            fix = "set built_in: true, or name a file of words"
            raise DataError([Problem("there are no words to look for", field="profanity", fix=fix)])
        stems = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
        pattern = re.compile(rf"\b(?:{stems})(?:s|es|ed|er|ers|ing|in|y|ty)?\b", re.IGNORECASE)

        def search(row: Row) -> Outcome:
            hits = (
                f"{part.role}: {hit.group().lower()}" for part in passages(row) for hit in pattern.finditer(part.text)
            )
            findings = tuple(Finding("profanity", hit) for hit in list(dict.fromkeys(hits))[:_FIRST])
            return Outcome(row, findings=findings)

        return search
