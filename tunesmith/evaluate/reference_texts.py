"""The texts that are right for a row, and the two ways to compare an answer with them."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.metric import Floats
from tunesmith.types.report import Prediction

__all__ = ["accepted", "compared", "normalised"]

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHIN_NUMBER = re.compile(r"(?<=\d)(?:,(?!\d{3}(?!\d))|[.:/-])(?=\d)|(?<![\w])-(?=\d)")
"""punctuation that a number's value depends on: 1.5, 10:30, 1/2, -5; the comma of 1,000 is none"""
SHIELD = 0xF0000
"""start of a private-use plane: where such punctuation is kept while the rest is removed"""


def accepted(row: Prediction) -> tuple[str, ...]:
    """The reference and all that `expect.answers` calls as right, those that are not empty: a row may expect no text.

    Raises EvaluationError when `expect.answers` is no list of texts.
    """
    given = row.expect.get("answers") or []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise EvaluationError(
            f"The row {row.example_id} has expect.answers {given!r}.", hint="Write a list of texts that are right."
        )
    return tuple(text for text in (row.reference, *map(str, given)) if text)


def compared(predictions: Sequence[Prediction], likeness: Callable[[str, tuple[str, ...]], float]) -> Floats:
    """[N, 2]: (`likeness` of the answer to the texts that are right, 1); NaN for rows that expect no text."""
    rows = [(likeness(row.answer, texts), 1.0) if (texts := accepted(row)) else (np.nan, np.nan) for row in predictions]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def normalised(text: str) -> str:
    """`text` in lower case without punctuation, the articles a, an, the, and needless white space: SQuAD's rule.

    As the official evaluation of SQuAD v1.1 (Rajpurkar et al. 2016, `normalize_answer`), with two additions: characters
    are compatibility-composed first (NFKC) and all of Unicode's punctuation is removed, and punctuation inside a number
    is kept, so that 1.5 is not 15 and -5 is not 5. 'The  Fee, please!' -> 'fee please'.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    shielded = WITHIN_NUMBER.sub(lambda found: chr(SHIELD + ord(found.group())), folded)
    bare = "".join(each for each in shielded if each not in string.punctuation and unicodedata.category(each)[0] != "P")
    words = " ".join(ARTICLES.sub(" ", bare).split())
    return "".join(chr(ord(each) - SHIELD) if ord(each) >= SHIELD else each for each in words)
