"""Accounts for every row: used, or dropped for a named reason, in rows and in tokens, per source and split."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.mix import CHOSEN_REASONS
from tunesmith.prepare.record import PLACES
from tunesmith.prepare.rows import Rows
from tunesmith.types.dataset import UNDIVIDED, Account, Drop, Ledger, Place

__all__ = ["drop_rate", "is_duplicate", "make_ledger", "shown"]

_PLACES = 5

Mask = npt.NDArray[np.bool_]


def make_ledger(rows: Rows, training: npt.NDArray[np.int64]) -> Ledger:
    """The ledger of one preparation; `training` lists the training rows, those that are repeated more than once.

    Raises ValueError (from Ledger) when used and dropped rows do not add up to what was read.
    """
    records, everything = rows.records, np.ones(len(rows), np.bool_)
    sources = {
        file: _account(rows, records["source"] == place, rows.read[place]) for place, file in enumerate(rows.files)
    }
    splits: dict[Place, Account] = {}
    for code, name in enumerate(PLACES):
        mask = records["split"] == code
        if mask.any():
            splits[UNDIVIDED if name == "auto" else name] = _account(rows, mask, int(mask.sum()))  # type: ignore[index]
    again = _repeated(training)
    total = _account(rows, everything, sum(rows.read))
    return Ledger(
        **dict(total),
        sources=sources,
        splits=splits,
        rows_repeated=len(again),
        tokens_repeated=int(records["tokens"][again].sum(dtype=np.int64)),
    )


def _account(rows: Rows, mask: Mask, rows_in: int) -> Account:
    tokens, reasons = rows.records["tokens"].astype(np.int64), rows.records["reason"]
    used = mask & (reasons == 0)
    drops = (_drop(rows, np.flatnonzero(mask & (reasons == code)), code) for code in np.unique(reasons[mask]) if code)
    return Account(
        rows_in=rows_in,
        rows_used=int(used.sum()),
        tokens_in=int(tokens[mask].sum()),
        tokens_used=int(tokens[used].sum()),
        drops=tuple(sorted(drops, key=lambda drop: (-drop.rows, drop.reason))),
    )


def _repeated(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Every index once for each time it occurs again."""
    ordered = np.sort(indices)
    return np.asarray(ordered[1:][ordered[1:] == ordered[:-1]])


def _drop(rows: Rows, indices: npt.NDArray[np.int64], code: int) -> Drop:
    return Drop(
        reason=rows.reasons[code - 1],
        rows=len(indices),
        tokens=int(rows.records["tokens"][indices].sum(dtype=np.int64)),
        where=tuple(rows.where(index) for index in indices[:_PLACES].tolist()),
    )


def is_duplicate(reason: str) -> bool:
    """Whether rows dropped for `reason` repeat one that is kept (`duplicate`, `near_duplicate_of_test`, ...)."""
    return "duplicate" in reason.split("_")


def drop_rate(ledger: Ledger) -> float:
    """Share of the rows that was dropped because of what they are.

    Duplicates do not count, for their content is still used, nor rows that the recipe chose not to take.
    """
    lost = (drop.rows for drop in ledger.drops if not is_duplicate(drop.reason) and drop.reason not in CHOSEN_REASONS)
    return sum(lost) / ledger.rows_in if ledger.rows_in else 0.0


def shown(ledger: Ledger) -> str:
    """The ledger as lines of text: rows in, rows used, and each reason with its first places."""
    return "\n".join(_lines(ledger))


def _lines(ledger: Ledger) -> Iterable[str]:
    yield f"rows in   {ledger.rows_in:>8}   tokens {ledger.tokens_in:>10}"
    yield f"rows used {ledger.rows_used:>8}   tokens {ledger.tokens_used:>10}"
    for drop in ledger.drops:
        more = ", ..." if drop.rows > len(drop.where) else ""
        yield f"dropped   {drop.rows:>8}   tokens {drop.tokens:>10}   {drop.reason}: {', '.join(drop.where)}{more}"
