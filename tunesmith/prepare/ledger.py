"""Accounts for every row: used, or dropped for a named reason, in rows and in tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tunesmith.prepare.candidate import Candidate, Dropped
from tunesmith.types.dataset import Drop, Ledger

__all__ = ["drop_rate", "is_duplicate", "make_ledger", "shown"]

_PLACES = 5


def make_ledger(rows_in: int, tokens_in: int, used: Iterable[Candidate], dropped: Iterable[Dropped]) -> Ledger:
    """The ledger of one preparation. The counts on both sides are taken independently.

    Raises ValueError (from Ledger) when used and dropped rows do not add up to what came in.
    """
    rows: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    places: dict[str, list[str]] = {}
    for candidate, reason in dropped:
        rows[reason] += 1
        tokens[reason] += candidate.tokens
        if len(places.setdefault(reason, [])) < _PLACES:
            places[reason].append(candidate.where)
    sizes = [candidate.tokens for candidate in used]
    drops = (
        Drop(reason=reason, rows=rows[reason], tokens=tokens[reason], where=tuple(places[reason])) for reason in places
    )
    return Ledger(
        rows_in=rows_in,
        rows_used=len(sizes),
        tokens_in=tokens_in,
        tokens_used=sum(sizes),
        drops=tuple(sorted(drops, key=lambda drop: (-drop.rows, drop.reason))),
    )


def is_duplicate(reason: str) -> bool:
    """Whether rows dropped for `reason` repeat one that is kept (`duplicate`, `near_duplicate_of_test`, ...)."""
    return "duplicate" in reason.split("_")


def drop_rate(ledger: Ledger) -> float:
    """Share of the rows that was dropped; duplicates do not count, for their content is still used."""
    lost = sum(drop.rows for drop in ledger.drops if not is_duplicate(drop.reason))
    return lost / ledger.rows_in if ledger.rows_in else 0.0


def shown(ledger: Ledger) -> str:
    """The ledger as lines of text: rows in, rows used, and each reason with its first places."""
    lines = [
        f"rows in   {ledger.rows_in:>8}   tokens {ledger.tokens_in:>10}",
        f"rows used {ledger.rows_used:>8}   tokens {ledger.tokens_used:>10}",
    ]
    for drop in ledger.drops:
        more = ", ..." if drop.rows > len(drop.where) else ""
        lines.append(
            f"dropped   {drop.rows:>8}   tokens {drop.tokens:>10}   {drop.reason}: {', '.join(drop.where)}{more}"
        )
    return "\n".join(lines)
