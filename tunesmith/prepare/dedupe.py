"""Drops rows whose prompt was already seen, so that no test question is trained and no answer contradicts another.

One row is kept for each prompt. Test rows are kept first, then validation, then rows that are still to be split, then
training rows; within each of them the first row in file order. So a row shared by two splits leaves the training side.

    same prompt, same answer, kept row in test          -> duplicate_of_test
    same prompt, same answer, kept row in validation    -> duplicate_of_validation
    same prompt, same answer, kept row elsewhere,
      or in the dropped row's own split                 -> duplicate
    same prompt, different answer                       -> conflicting_answer

Data with several good answers to one prompt (sampled completions) needs `deduplicate: off`.

What augmentation made of a row is left out as a duplicate of it where the row is in test or validation and it is not.

Preferences and judged answers may share a prompt. Of those only rows about the very same answers are duplicates or
contradict each other (by the table above); a prompt that a test or validation row has is still left out of training.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.record import PLACES
from tunesmith.prepare.rows import Rows

__all__ = ["drop_duplicates"]

_PRIORITY = ("test", "validation", "auto", "train")


def drop_duplicates(rows: Rows) -> None:
    """Keep one row for each subject; `rows.records["of"]` then names the row that a dropped one repeats."""
    indices = np.flatnonzero(rows.kept)
    priority = np.array([_PRIORITY.index(place) for place in PLACES])[rows.records["split"][indices]]
    order = indices[np.lexsort((indices, priority))]
    records = rows.records[order]
    kept, home = (_first(records[name]) for name in ("subject", "home"))
    home = _with_families(home, records["family"])
    repeats = kept != np.arange(len(order))
    elsewhere = ~repeats & (records["split"][home] != records["split"])
    conflicts = repeats & (records["answer"][kept] != records["answer"])
    of = np.where(elsewhere, home, kept)
    rows.drop(np.sort(order[conflicts]), "conflicting_answer")
    crosses = (repeats & ~conflicts | elsewhere) & (records["split"][of] != records["split"])
    for place in ("test", "validation"):
        found = crosses & (records["split"][of] == PLACES.index(place))
        rows.drop(np.sort(order[found]), f"duplicate_of_{place}")
        crosses &= ~found
    dropped = repeats | elsewhere
    rows.records["of"][order[dropped]] = order[of[dropped]]
    rest = order[dropped & (rows.records["reason"][order] == 0)]
    rows.drop(np.sort(rest), "duplicate")


def _with_families(home: npt.NDArray[np.int64], families: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The homes, a row of an augmented family (not 0) being where the most protected row of its family is."""
    marked = np.flatnonzero(families)
    _, which = np.unique(families[marked], return_inverse=True)
    best = np.full(len(marked), len(home), dtype=np.int64)
    np.minimum.at(best, which, home[marked])
    home[marked] = best[which]
    return home


def _first(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """[N] the place of the first row with the same key."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])
