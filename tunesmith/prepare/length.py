"""Drops rows that are longer than the recipe allows. Nothing is truncated: half an answer teaches to stop early."""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.prepare.candidate import Candidate, Dropped, Sorted

__all__ = ["drop_too_long"]


def drop_too_long(candidates: Iterable[Candidate], max_tokens: int) -> Sorted:
    """Keep rows whose longest sequence has at most `max_tokens` tokens; the reason of the others is too_long."""
    rows = tuple(candidates)
    return Sorted(
        tuple(row for row in rows if row.longest <= max_tokens),
        tuple(Dropped(row, "too_long") for row in rows if row.longest > max_tokens),
    )
