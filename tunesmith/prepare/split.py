"""Divides rows into train, validation and test by their content and a seed, never by their place in a file.

Rows with the same prompt (compared as normalised text) form one group and land in the same split. Groups are ordered by
SHA-256 of the seed and the prompt. With stratification each answer's groups are divided in the same proportion, by
cumulative rounding over the answers: after c of n rows, floor(c * wanted / n) rows are due in a split, so the whole
split has its wanted size although no answer's share is a whole number. The last group of an answer stays in training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.prepare.candidate import Candidate
from tunesmith.prepare.content import prompt_key
from tunesmith.types.base import digest_bytes
from tunesmith.types.dataset import SplitName
from tunesmith.types.recipe import SplitSpec

__all__ = ["assign_splits"]

_Group = list[int]


def assign_splits(candidates: Sequence[Candidate], spec: SplitSpec, *, classification: bool) -> tuple[Candidate, ...]:
    """The candidates in their order, each `auto` one with its split; `stratify: auto` stratifies classification data.

    A split with a fraction above 0 gets at least one row when there are rows enough (rounding never empties it).
    """
    stratified = spec.stratify == "yes" or (spec.stratify == "auto" and classification)
    strata = _strata(candidates, spec.seed, stratified=stratified)
    total = sum(len(group) for groups in strata for group in groups)
    fractions: tuple[tuple[SplitName, float], ...] = (("test", spec.test), ("validation", spec.validation))
    wanted = {name: max(1, round(total * fraction)) if fraction and total else 0 for name, fraction in fractions}
    places: dict[int, SplitName] = {}
    before = 0
    for groups in strata:
        rows = sum(map(len, groups))
        after = before + rows
        due = {name: after * count // total - before * count // total for name, count in wanted.items()}
        places.update(_divide(groups, due))
        before = after
    return tuple(replace(row, split=places.get(index, row.split)) for index, row in enumerate(candidates))


def _strata(candidates: Sequence[Candidate], seed: int, *, stratified: bool) -> list[list[_Group]]:
    """Groups of indices of the `auto` rows, by answer; all in an order that only content and seed decide."""
    groups: dict[str, _Group] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        if candidate.split == "auto":
            groups[prompt_key(candidate.example.content)].append(index)
    strata: dict[str, list[_Group]] = defaultdict(list)
    for key in sorted(groups, key=lambda key: digest_bytes(f"{seed}:{key}".encode())):
        answers = (candidates[index].example.conversation.reference for index in groups[key])
        strata[min(answers) if stratified else ""].append(groups[key])
    return [strata[answer] for answer in sorted(strata)]


def _divide(groups: Sequence[_Group], due: dict[SplitName, int]) -> dict[int, SplitName]:
    """The split of each index: whole groups go to test, then validation, while they fit; the rest is for training."""
    places: dict[int, SplitName] = {}
    left = dict(due)
    for position, group in enumerate(groups):
        last = position == len(groups) - 1 and "train" not in places.values()
        fits = (name for name, rows in left.items() if len(group) <= rows)
        place: SplitName = "train" if last else next(fits, "train")
        if place != "train":
            left[place] -= len(group)
        places.update(dict.fromkeys(group, place))
    return places
