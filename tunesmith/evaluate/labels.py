"""Reading an answer as one of the known labels: strict, so that an invalid answer is seen as one.

Exactly four differences are forgiven, repeatedly until nothing changes: surrounding white space, letter case
(Unicode case folding), trailing punctuation (. , ; : ! ?), and one pair of surrounding quotes (straight, curly, or
back-ticks). Anything else is not a label: for "refund", "refund please", "category: refund" and "ref" are all invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["label_reader", "normalise"]

TRAILING = ".,;:!?"
QUOTES = (("'", "'"), ('"', '"'), ("`", "`"), ("\u2018", "\u2019"), ("\u201c", "\u201d"))


def normalise(text: str) -> str:
    """`text` without the four forgiven differences: ' "Late fee." ' -> 'late fee'."""
    previous, current = None, text.casefold()
    while current != previous:
        previous, current = current, _without_quotes(current.strip().rstrip(TRAILING).strip())
    return current


def label_reader(labels: Sequence[str]) -> Callable[[str], str | None]:
    """A function from an answer to its label, or None when it is none of `labels`.

    Labels that only differ in forgiven ways ('Fee' and 'fee') can be told apart only by an exact answer.
    """
    exact = frozenset(labels)
    by_form: dict[str, set[str]] = {}
    for label in labels:
        by_form.setdefault(normalise(label), set()).add(label)

    def read(answer: str) -> str | None:
        if not exact:
            return None  # a suite without labels asks this of every answer
        stripped = answer.strip()
        if stripped in exact:
            return stripped
        candidates = by_form.get(normalise(answer), set())
        return next(iter(candidates)) if len(candidates) == 1 else None

    return read


def _without_quotes(text: str) -> str:
    for opening, closing in QUOTES:
        if len(text) >= 2 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1]
    return text
