"""What splits share: rows of one whose prompt is in the other exactly, after normalising, or nearly.

Counted from the stored rows, independently of the steps that made the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.content import prompt_key
from tunesmith.prepare.step import TableStep
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example, SplitName
from tunesmith.types.preference import Row

__all__ = ["MOST_COMPARED", "Cluster", "Overlaps", "SplitOverlap", "overlaps"]

MOST_COMPARED = 200_000
"""Near duplicates are looked for among this many rows at most: the first of each split in equal shares."""

_LARGEST = 12


class SplitOverlap(Value):
    """Of the `rows` of `held`, how many have a prompt that `other` has too. `near` counts rows that are in one cluster
    with a row of `other`; None where no near duplicates were looked for.
    """

    held: SplitName
    other: SplitName
    rows: int
    exact: int
    normalised: int
    near: int | None


class Cluster(Value):
    """Rows that are nearly the same: how many, in which splits, and the first few of them (file:line -> prompt)."""

    rows: int
    splits: dict[SplitName, int]
    examples: dict[str, str]


class Overlaps(Value):
    """The overlap of every two splits; the largest clusters of near duplicates among the used rows, their number by
    size, and how many rows were compared.
    """

    pairs: tuple[SplitOverlap, ...]
    clusters: tuple[Cluster, ...] = ()
    sizes: dict[int, int] = {}
    compared: int = 0


class _Keys(NamedTuple):
    """Of each row of a split eight bytes of its prompt's digest: as it is, and normalised."""

    exact: npt.NDArray[np.uint64]
    normalised: npt.NDArray[np.uint64]


def overlaps(dataset: StoredDataset, near: TableStep | None, show: Callable[[Row], str]) -> Overlaps:
    """The overlaps of `dataset`; `near` groups near duplicates, `show` gives a row's text."""
    splits = tuple(dataset.manifest.splits)
    keys = {split: _keys(dataset, split) for split in splits}
    compared = _Compared(dataset) if near is not None else None
    groups = compared.groups(near) if compared is not None and near is not None else None
    pairs = []
    for other, held in combinations(splits, 2):
        found = None
        if compared is not None and groups is not None:
            found = int(np.isin(groups[compared.of(held)], groups[compared.of(other)]).sum())
        pairs.append(
            SplitOverlap(
                held=held,
                other=other,
                rows=len(keys[held].exact),
                exact=int(np.isin(keys[held].exact, keys[other].exact).sum()),
                normalised=int(np.isin(keys[held].normalised, keys[other].normalised).sum()),
                near=found,
            )
        )
    if compared is None or groups is None:
        return Overlaps(pairs=tuple(pairs))
    members, counts = np.unique(groups, return_counts=True)
    sizes, of_size = np.unique(counts[counts > 1], return_counts=True)
    largest = sorted((-count, group) for group, count in zip(members.tolist(), counts.tolist(), strict=True))[:_LARGEST]
    return Overlaps(
        pairs=tuple(pairs),
        clusters=tuple(compared.cluster(groups, group, show) for count, group in largest if count < -1),
        sizes=dict(zip(sizes.tolist(), of_size.tolist(), strict=True)),
        compared=len(compared),
    )


def _keys(dataset: StoredDataset, split: SplitName) -> _Keys:
    exact, normal = bytearray(), bytearray()
    for row in dataset.rows(split):
        exact += bytes.fromhex(prompt_key(row.content, exact=True)[:16])
        normal += bytes.fromhex(prompt_key(row.content)[:16])
    return _Keys(np.frombuffer(exact, np.uint64), np.frombuffer(normal, np.uint64))


class _Compared:
    """The rows among which near duplicates are looked for, read back from the stored files by their place."""

    def __init__(self, dataset: StoredDataset) -> None:
        self._path = dataset.path
        self._offsets: list[int] = []
        self._splits: list[SplitName] = []
        share = MOST_COMPARED // len(dataset.manifest.splits)
        seen: set[int] = set()
        for split in dataset.manifest.splits:
            with (dataset.path / f"{split}.jsonl").open("rb") as lines:
                offset = 0
                for _, line in zip(range(share), lines, strict=False):
                    # A row of a rare class that training repeats is not its own near duplicate.
                    if (identity := hash(line)) not in seen:
                        seen.add(identity)
                        self._offsets.append(offset)
                        self._splits.append(split)
                    offset += len(line)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def splits(self) -> Sequence[str]:
        """The split of each row."""
        return self._splits

    def of(self, split: SplitName) -> npt.NDArray[np.bool_]:
        """Which rows are of `split`."""
        return np.array([each == split for each in self._splits])

    def example(self, index: int) -> Example:
        """Row `index`."""
        with (self._path / f"{self._splits[index]}.jsonl").open("rb") as lines:
            lines.seek(self._offsets[index])
            return Example.model_validate_json(lines.readline())

    def content(self, index: int) -> Row:
        """What row `index` says."""
        return self.example(index).content

    def where(self, index: int) -> str:
        """file:line of row `index`."""
        row = self.example(index)
        return f"{row.source}:{row.line}"

    def groups(self, near: TableStep) -> npt.NDArray[np.int64]:
        """A number for each row, equal for near duplicates."""
        measure = near.open(Path())
        measures = bytearray()
        for index in range(len(self)):
            measures += measure(self.content(index))
        table = np.frombuffer(measures, np.uint8).reshape(len(self), -1)
        found = near.judge(table, self).groups
        return np.arange(len(self)) if found is None else found

    def cluster(self, groups: npt.NDArray[np.int64], group: int, show: Callable[[Row], str]) -> Cluster:
        """The cluster `group` with its first rows."""
        members = np.flatnonzero(groups == group).tolist()
        first = [self.example(index) for index in members[:4]]
        return Cluster(
            rows=len(members),
            splits=dict(Counter(self._splits[index] for index in members)),
            examples={f"{row.source}:{row.line}": show(row.content) for row in first},
        )
