"""What the steps for personal data and secrets share: places in a text, their pseudonyms, what is done with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import rewritten
from tunesmith.types.preference import Row

__all__ = ["Action", "Place", "apart", "masked", "pseudonym", "treating"]

Action = Literal["report", "redact", "drop"]

_SHOWN = 2


class Place(NamedTuple):
    """Characters [start, end) of a text and what they are (`email`, `aws_access_key`)."""

    start: int
    end: int
    kind: str


def apart(places: Iterable[Place]) -> list[Place]:
    """The places in order of the text, without overlaps: of two that overlap the one given first stays."""
    kept: list[Place] = []
    for place in places:
        if all(place.end <= other.start or other.end <= place.start for other in kept):
            kept.append(place)
    return sorted(kept)


def pseudonym(kind: str, value: str, salt: str) -> str:
    """What stands for `value`: `<EMAIL_3f9a01>`, the same in every row and run for the same value and salt.

    The letters are 24 bits of BLAKE2b keyed with the salt; case and separators of the value play no part. Whoever knows
    the salt can try values, so an unguessable salt that is not published keeps it a pseudonym.
    """
    key = hashlib.sha256(salt.encode()).digest()
    same = "".join(character for character in value.casefold() if character.isalnum())
    return f"<{kind.upper()}_{hashlib.blake2b(same.encode(), digest_size=3, key=key).hexdigest()}>"


def masked(value: str) -> str:
    """`value` with all but its first two characters hidden, to be shown in a report."""
    hidden = "".join("*" if character.isalnum() else character for character in value[_SHOWN:])
    return f"{value[:_SHOWN]}{hidden}"


def treating(
    find: Callable[[str], Sequence[Place]], action: Action, salt: str, reason: str
) -> Callable[[Row], Outcome]:
    """The work on one row: find places in every text, then report them, put pseudonyms there, or drop the row.

    Findings show values masked: the report must not spread what it warns of.
    """

    def treat(row: Row) -> Outcome:
        findings: list[Finding] = []

        def change(text: str) -> str:
            pieces, done = [], 0
            for start, end, kind in find(text):
                findings.append(Finding(kind, masked(text[start:end])))
                pieces += [text[done:start], pseudonym(kind, text[start:end], salt)]
                done = end
            return "".join((*pieces, text[done:])) if action == "redact" else text

        new = rewritten(row, change)
        if findings and action == "drop":
            return Outcome(None, reason, tuple(findings))
        return Outcome(new, findings=tuple(findings))

    return treat
