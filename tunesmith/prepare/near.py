"""From candidates to verdicts: which rows repeat a row that is kept, and which belong together.

Rows are taken in order of preference (test rows first, then validation, then the rest; in file order). A row that is
similar to one that is kept repeats it; any other row is kept. So every dropped row is similar, as measured, to a kept
one, and no two kept rows that were candidates are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.step import Finding, Judgement, RowsSeen

__all__ = ["Candidates", "Clusters", "Similar", "candidate_pairs", "cluster", "in_order", "judgement", "spread"]

Indices = npt.NDArray[np.int64]
Similar = Callable[[int, int], float]

# A bucket of equal keys makes a candidate of each row with this many rows before it.
_WINDOW = 16
# A row is measured against at most this many kept rows, the likeliest first.
_MOST_MEASURED = 24
_SHOWN = 5


class Candidates(NamedTuple):
    """Pairs [P] of rows that may be similar, each once; `later` ascends, `earlier` is preferred to it."""

    earlier: Indices
    later: Indices


class Clusters(NamedTuple):
    """For each row the kept row it repeats (itself when kept), its group (that of its first row), and the row before it
    that it was found most similar to (itself when none was), with the similarity measured (0 when none was).
    """

    keeper: Indices
    group: Indices
    like: Indices
    similarity: npt.NDArray[np.float32]


def in_order(splits: Sequence[str]) -> Indices:
    """Indices of the rows in order of preference."""
    ranks = {"test": 0, "validation": 1}
    return np.argsort([ranks.get(split, 2) for split in splits], kind="stable").astype(np.int64)


def candidate_pairs(keys: Iterable[npt.NDArray[np.uint64]], rows: int) -> Candidates:
    """The pairs that have a key in common; each of `keys` [rows] holds one key of every row, in order of preference."""
    codes = np.zeros(0, dtype=np.int64)
    for key in keys:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        found = []
        for distance in range(1, _WINDOW + 1):
            equal = ordered[distance:] == ordered[:-distance]
            if not equal.any():
                break
            found.append(order[distance:][equal] * rows + order[:-distance][equal])
        if found:
            codes = np.union1d(codes, np.concatenate(found))
    return Candidates(codes % rows, codes // rows)


def cluster(candidates: Candidates, rows: int, similar: Similar, threshold: float, *, drop: bool) -> Clusters:
    """Measure candidates and put together what is similar.

    With `drop` a row that repeats a kept one is measured no further. Else all rows are kept, and a group is all that is
    linked, however long the chain.
    """
    keeper, parent, like = list(range(rows)), list(range(rows)), list(range(rows))
    similarity = np.zeros(rows, dtype=np.float32)
    starts = np.flatnonzero(np.diff(candidates.later, prepend=-1)).tolist()
    for start, end in zip(starts, (*starts[1:], len(candidates.later)), strict=False):
        row = int(candidates.later[start])
        earlier = candidates.earlier[start:end].tolist()
        votes = Counter(keeper[each] for each in earlier) if drop else Counter(earlier)
        for other, _ in votes.most_common(_MOST_MEASURED):
            if not drop and _root(parent, other) == _root(parent, row):
                continue
            measured = similar(other, row)
            if measured < threshold:
                continue
            if measured > similarity[row]:
                similarity[row], like[row] = measured, other
            first, second = sorted((_root(parent, row), _root(parent, other)))
            parent[second] = first
            if drop:
                keeper[row] = other
                break
    groups = np.array([_root(parent, row) for row in range(rows)])
    return Clusters(np.array(keeper), groups, np.array(like), similarity)


def spread(clusters: Clusters, first: Indices) -> Clusters:
    """The clusters of all rows, from those of distinct ones: `first` [N] is the distinct row that each row equals.

    The distinct rows are numbered by `np.unique` of it; each stands at the place of its first occurrence.
    """
    places = np.unique(first)
    keeper, group = places[clusters.keeper], places[clusters.group]
    which = np.searchsorted(places, first)
    repeats = first != np.arange(len(first))
    equal = repeats & (clusters.keeper[which] == which)
    like = np.where(
        equal, first, np.where(clusters.like == np.arange(len(places)), places, places[clusters.like])[which]
    )
    similarity = np.where(equal, 1.0, clusters.similarity[which])
    return Clusters(keeper[which], group[which], like, similarity.astype(np.float32))


def judgement(clusters: Clusters, order: Indices, rows: RowsSeen, name: str, *, drop: bool) -> Judgement:
    """The clusters, which are by place in `order`, as a verdict on the rows by index.

    Dropped rows have the reason `name`, or `name`_of_test (or _of_validation) when the row kept is there and they are
    not. Findings: of a row that is like one before it `name`, with the similarity and the other's place; of the first
    row of a group (the kept one) `name`_cluster, with its size and members.
    """
    ids = order[clusters.group]
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = ids
    anchor = clusters.keeper if drop else clusters.group
    repeats = np.flatnonzero(anchor != np.arange(len(order)))
    reasons: dict[int, str] = {}
    findings: dict[int, tuple[Finding, ...]] = {}
    members: dict[int, list[int]] = {}
    for place in repeats.tolist():
        index, kept = int(order[place]), int(order[anchor[place]])
        members.setdefault(kept, []).append(index)
        if clusters.similarity[place] > 0:
            other = int(order[clusters.like[place]])
            findings[index] = (Finding(name, f"{clusters.similarity[place]:.2f} like {rows.where(other)}"),)
        if drop:
            reasons[index] = _reason(name, rows.splits[kept], rows.splits[index])
    for kept, others in members.items():
        shown = ", ".join(rows.where(index) for index in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        findings[kept] = (
            *findings.get(kept, ()),
            Finding(f"{name}_cluster", f"{len(others) + 1:,} rows: this one, {shown}{more}"),
        )
    return Judgement(reasons, findings, groups)


def _reason(name: str, kept: str, dropped: str) -> str:
    return f"{name}_of_{kept}" if kept != dropped and kept in ("test", "validation") else name


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row
