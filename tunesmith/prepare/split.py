"""Divides rows into train, validation and test by their content and a seed, never by their place in a file.

Rows that belong together form one group and land in the same split: rows with the same prompt (compared as normalised
text), with the same value of the field `by` (a conversation, a customer), rows that a step calls alike (near-duplicate
clusters), rows that augmentation made of one another, and rows linked by any of these through others.

By content, groups are ordered by a hash of the seed and their smallest prompt key. With stratification each answer's
groups are divided in the same proportion, by cumulative rounding over the answers: after c of n rows,
floor(c * wanted / n) rows are due in a split, so the whole split has its wanted size although no answer's share is a
whole number. The last group of an answer stays in training. A group that holds rows of a fixed split is left to that
split's side: its `auto` rows go there too, so that nothing straddles the border.

By time, everything at or after a point in time is held out, the earlier part of it as validation rows and the later
part as test rows; a group goes by its latest row, so that training rows and all that belongs to them are older.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tunesmith.prepare.instant import instant
from tunesmith.prepare.record import AUTO, PLACES
from tunesmith.prepare.rows import Rows
from tunesmith.types.recipe import SplitSpec, TimeSpec

__all__ = ["assign_splits", "mixed", "together"]

_TRAIN, _VALIDATION, _TEST = (PLACES.index(name) for name in ("train", "validation", "test"))

Codes = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.int64]


def assign_splits(rows: Rows, spec: SplitSpec, *, classification: bool) -> None:
    """Give each kept `auto` row its split; `stratify: auto` stratifies classification data.

    A split with a fraction above 0 gets at least one row when there are rows enough (rounding never empties it).
    """
    stratified = spec.stratify == "yes" or (spec.stratify == "auto" and classification and spec.time is None)
    fractions = (spec.test, spec.validation)
    kept = np.flatnonzero(rows.kept)
    groups = together(rows, kept)
    _follow_fixed(rows, kept, groups)
    auto = rows.records["split"][kept] == AUTO
    indices, groups = kept[auto], np.unique(groups[auto], return_inverse=True)[1]
    if not len(indices):
        return
    sizes = np.bincount(groups)
    wanted = [max(1, round(len(indices) * fraction)) if fraction else 0 for fraction in fractions]
    if spec.time is not None:
        latest = np.full(len(sizes), -np.inf)
        np.maximum.at(latest, groups, rows.records["time"][indices])
        places = _by_time(latest, sizes, wanted, spec.time)
    else:
        places = _by_content(rows, indices, groups, wanted, (spec.seed, stratified))
    rows.records["split"][indices] = places[groups]


def together(rows: Rows, indices: Numbers) -> Numbers:
    """[len(indices)] a number for each row, equal for rows that must land in the same split."""
    records = rows.records[indices]
    columns = [np.unique(records["prompt"], return_inverse=True)[1]]
    if records["group"].any():
        columns.append(np.unique(records["group"], return_inverse=True)[1])
    if records["family"].any():
        families = np.unique(records["family"], return_inverse=True)[1]
        columns.append(np.where(records["family"] > 0, families, -1))
    columns += [groups[indices] for groups in rows.groups]
    return columns[0] if len(columns) == 1 else _connected(columns)


def mixed(keys: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A hash of each key and the seed: SplitMix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        state = keys + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed + 1)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)))


def _connected(columns: Sequence[Numbers]) -> Numbers:
    """Rows that share a number (not -1) in any column, also through other rows, are one component."""
    rows = len(columns[0])
    starts, ends, nodes = [], [], rows
    for column in columns:
        linked = np.flatnonzero(column >= 0)
        starts.append(linked)
        ends.append(column[linked] + nodes)
        nodes += int(column.max(initial=-1)) + 1
    row, column = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(row), np.bool_), (row, column)), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1][:rows], dtype=np.int64)


def _follow_fixed(rows: Rows, kept: Numbers, groups: Numbers) -> None:
    """`auto` rows that belong to rows of a fixed split land there too: test before validation before training."""
    splits = rows.records["split"][kept]
    if (splits == AUTO).all() or not (splits == AUTO).any():
        return
    place = np.full(int(groups.max()) + 1, AUTO, np.int8)
    for split in (_TRAIN, _VALIDATION, _TEST):
        place[groups[splits == split]] = split
    auto = splits == AUTO
    rows.records["split"][kept[auto]] = place[groups[auto]]


def _by_time(latest: npt.NDArray[np.float64], sizes: Numbers, wanted: Sequence[int], spec: TimeSpec) -> Codes:
    """The split of each group, by the time of its latest row."""
    order = np.argsort(-latest, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    places = np.full(len(sizes), _TRAIN, np.int8)
    if spec.cut is None:
        held_out, test = before < sum(wanted), before < wanted[0]
    else:
        held_out = latest[order] >= instant(spec.cut, "prepare.split.time.cut")
        share = wanted[0] / sum(wanted) if sum(wanted) else 1.0
        test = held_out & (before < share * sizes[order][held_out].sum())
    places[order[held_out]] = _VALIDATION
    places[order[held_out & test]] = _TEST
    return places


def _by_content(rows: Rows, indices: Numbers, groups: Numbers, wanted: Sequence[int], how: tuple[int, bool]) -> Codes:
    """The split of each group, in an order that only content and seed decide."""
    seed, stratified = how
    count = int(groups.max()) + 1
    key, stratum = (np.full(count, np.iinfo(np.uint64).max, np.uint64) for _ in range(2))
    np.minimum.at(key, groups, rows.records["prompt"][indices])
    np.minimum.at(stratum, groups, rows.records["reference"][indices])
    if not stratified:
        stratum[:] = 0
    sizes, total, done = np.bincount(groups), len(indices), 0
    order = np.lexsort((key, mixed(key, seed), stratum))
    places = np.full(count, _TRAIN, np.int8)
    for members in np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1):
        after = done + int(sizes[members].sum())
        due = [after * each // total - done * each // total for each in wanted]
        places[members] = list(_divided(sizes[members].tolist(), due))
        done = after
    return places


def _divided(sizes: Sequence[int], due: list[int]) -> Iterable[int]:
    """The split of each group: whole groups go to test, then validation, while they fit; the rest is for training."""
    trained = False
    for position, size in enumerate(sizes):
        last = position == len(sizes) - 1 and not trained
        fits = (place for place, rows in enumerate(due) if size <= rows)
        chosen = None if last else next(fits, None)
        if chosen is None:
            trained = True
            yield _TRAIN
        else:
            due[chosen] -= size
            yield (_TEST, _VALIDATION)[chosen]
