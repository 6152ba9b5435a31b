"""Chooses, repeats and orders rows by the recipe's `mix`, its sources' `at_most` and `weight`.

Rows are chosen in the order of a hash of the seed and their prompt, so a smaller choice is always part of a larger one.
Whatever is left out is named: `over_cap`, `not_sampled`, `not_in_subset`. Only `at_most` touches validation and test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.classes import find_classes
from tunesmith.prepare.record import PLACES
from tunesmith.prepare.rows import Rows
from tunesmith.prepare.split import mixed
from tunesmith.types.recipe import MixSpec, SourceSpec

__all__ = ["CHOSEN_REASONS", "Chosen", "cap_sources", "choose_training_rows", "training_order"]

CHOSEN_REASONS = ("over_cap", "not_sampled", "not_in_subset")
"""Rows that the recipe chose not to use; there is nothing wrong with them."""

Indices = npt.NDArray[np.int64]


class Chosen(NamedTuple):
    """The recipe's sources, and the place of each row's source among them [N] (a source may have many files)."""

    specs: Sequence[SourceSpec]
    of: Indices


def cap_sources(rows: Rows, chosen: Chosen, seed: int) -> None:
    """Keep at most `at_most` rows of each source."""
    for place, spec in enumerate(chosen.specs):
        if spec.at_most is not None:
            found = np.flatnonzero(rows.kept & (chosen.of == place))
            rows.drop(np.sort(_ranked(rows, found, seed)[spec.at_most :]), "over_cap")


def choose_training_rows(rows: Rows, chosen: Chosen, mix: MixSpec, seed: int) -> None:
    """Leave training rows out until the sources have their weights, general data its share, and all the subset's size.

    Raises DataError for a share that no source can give.
    """
    counts = np.bincount(chosen.of[_training(rows)], minlength=len(chosen.specs)).tolist()
    for place, wanted in enumerate(_wanted(counts, chosen.specs, mix)):
        if wanted < counts[place]:
            found = _training(rows)
            found = found[chosen.of[found] == place]
            rows.drop(np.sort(_ranked(rows, found, seed)[wanted:]), "not_sampled")
    if mix.subset < 1.0:
        _keep_share(rows, mix.subset, seed)


def training_order(rows: Rows, mix: MixSpec, seed: int) -> Indices:
    """The training rows in the order in which they are stored, some more than once.

    Raises DataError when rows of rare classes are to be repeated and there are no classes.
    """
    found = _training(rows)
    if mix.oversample:
        found = _with_repeats(rows, found, mix.oversample, seed)
    if mix.order == "length":
        found = found[np.argsort(rows.records["tokens"][found], kind="stable")]
    return found


def _training(rows: Rows) -> Indices:
    return np.flatnonzero(rows.kept & (rows.records["split"] == PLACES.index("train")))


def _ranked(rows: Rows, indices: Indices, seed: int) -> Indices:
    """`indices` in an order that only content and seed decide (file order where prompts are equal)."""
    return indices[np.argsort(mixed(rows.records["prompt"][indices], seed), kind="stable")]


def _wanted(counts: list[int], specs: Sequence[SourceSpec], mix: MixSpec) -> list[int]:
    """Training rows that each source is to give."""
    general, weights = [spec.general for spec in specs], [spec.weight or 0.0 for spec in specs]
    if mix.general is not None:
        return _with_general(counts, general, mix.general)
    if not any(weights):
        return counts
    for count, spec in zip(counts, specs, strict=True):
        if spec.weight and not count:
            fix = "remove the source, or see in the ledger where its rows went"
            raise DataError([Problem("has a weight and no training rows", file=spec.path, field="weight", fix=fix)])
    total = min(count * sum(weights) / weight for count, weight in zip(counts, weights, strict=True) if weight)
    return [int(total * weight / sum(weights) + 1e-9) for weight in weights]


def _with_general(counts: list[int], general: list[bool], share: float) -> list[int]:
    """All rows of the task, and so many of the general sources (in proportion) that they are `share` of all."""
    there = sum(count for count, marked in zip(counts, general, strict=True) if marked)
    if not there:
        fix = "give a source with general: true that has training rows, or remove prepare.mix.general"
        raise DataError([Problem("there are no general training rows", field="prepare.mix.general", fix=fix)])
    task = sum(counts) - there
    wanted = task * share / (1.0 - share)
    if wanted >= there + 1:
        found, enough = there / (there + task), int(there * (1.0 - share) / share)
        message = f"{there:,} general training rows beside {task:,} others are a share of {found:.3f}, not {share:g}"
        fix = f"add general rows ({math.floor(wanted):,} are needed), keep {enough:,} others (at_most), or ask for less"
        raise DataError([Problem(message, field="prepare.mix.general", fix=fix)])
    kept = min(1.0, wanted / there)
    return [round(count * kept) if marked else count for count, marked in zip(counts, general, strict=True)]


def _keep_share(rows: Rows, share: float, seed: int) -> None:
    """Keep the first `share` of the training rows of each class, rounded up; of all of them where there are none."""
    found = _training(rows)
    classes = find_classes(rows, found)
    codes = classes.codes if classes.names else np.zeros(len(found), np.int64)
    ranked = np.lexsort((found, mixed(rows.records["prompt"][found], seed), codes))
    sizes = np.bincount(codes)
    place = np.arange(len(found)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    limit = np.repeat(np.ceil(sizes * share - 1e-9).astype(np.int64), sizes)
    rows.drop(np.sort(found[ranked[place >= limit]]), "not_in_subset")


def _with_repeats(rows: Rows, found: Indices, share: float, seed: int) -> Indices:
    """Repeat rows of rare classes until each class has at least `share` as many as the largest."""
    classes = find_classes(rows, found)
    if not classes.names:
        fix = "remove prepare.mix.oversample"
        message = "there are no classes to balance: the answers are not 2 to 200 that repeat"
        raise DataError([Problem(message, field="prepare.mix.oversample", fix=fix)])
    sizes = np.bincount(classes.codes)
    target = int(np.ceil(sizes.max() * share - 1e-9))
    more = []
    for code in np.flatnonzero(sizes < target).tolist():
        ranked = _ranked(rows, found[classes.codes == code], seed)
        more.append(np.resize(ranked, target - len(ranked)))
    return np.sort(np.concatenate([found, *more]), kind="stable")
