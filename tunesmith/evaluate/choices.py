"""Multiple choice: which option is right, and which one an answer names."""

from __future__ import annotations

import re
import string

from tunesmith.evaluate.labels import normalise
from tunesmith.types.report import Prediction

__all__ = ["chosen", "is_pair", "right_choice"]

WRITTEN = re.compile(r"^\W?([A-Z])\W?(?:$|[\s.:)\]]+(.+)$)", re.DOTALL)
"""'B', '(B)', 'B.', or 'B. its text'"""


def is_pair(row: Prediction) -> bool:
    """Whether the row's two options are answers of which people chose one: neither is right or wrong."""
    return "rejected" in row.expect


def right_choice(row: Prediction) -> int | None:
    """Place of the right option: the option that the reference is, or the one of its letter; None where it is none."""
    if is_pair(row):
        return None
    if row.reference in row.options:
        return row.options.index(row.reference)
    place = string.ascii_uppercase.find(row.reference) if len(row.reference) == 1 else -1
    return place if 0 <= place < len(row.options) else None


def chosen(row: Prediction) -> int | None:
    """Place of the option that the answer names, read strictly; None when it names none.

    A letter alone ('B', '(B)', 'b.'), an option's own text, or both where they agree ('B. Paris'). An answer that
    argues ('I think B') or names two names none. Texts are those of `expect.choices` where the options are letters.
    """
    listed = row.expect.get("choices")
    texts = [normalise(str(each)) for each in (listed if isinstance(listed, list) else row.options)]
    said = normalise(row.answer)
    if texts.count(said) == 1:
        return texts.index(said)
    written = WRITTEN.match(row.answer.strip().upper())
    if written is None:
        return None
    place = string.ascii_uppercase.index(written.group(1))
    if place >= len(texts) or (written.group(2) is not None and normalise(written.group(2)) != texts[place]):
        return None
    return place
