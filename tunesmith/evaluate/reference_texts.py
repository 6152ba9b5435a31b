"""The texts that are right for a row, and the two ways to compare an answer with them."""

from __future__ import annotations

import re
import string
import unicodedata

from tunesmith.errors import EvaluationError
from tunesmith.types.report import Prediction

__all__ = ["accepted", "normalised"]

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHIN_NUMBER = re.compile(r"(?<=\d)(?:,(?!\d{3}(?!\d))|[.:/-])(?=\d)|(?<![\w])-(?=\d)")
"""punctuation that a number's value depends on: 1.5, 10:30, 1/2, -5; the comma of 1,000 is none"""
SHIELD = 0xF0000
"""start of a private-use plane: where such punctuation is kept while the rest is removed"""


def accepted(row: Prediction) -> tuple[str, ...]:
    """The reference and all that `expect.answers` calls as right; without a reference the latter alone.

    Raises EvaluationError when `expect.answers` is no list of texts.
    """
    given = row.expect.get("answers") or []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise EvaluationError(
            f"The row {row.example_id} has expect.answers {given!r}.", hint="Write a list of texts that are right."
        )
    texts = tuple(str(each) for each in given)
    return (row.reference, *texts) if row.reference or not texts else texts


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
