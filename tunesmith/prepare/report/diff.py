"""What changed from one dataset to another, row by row; of each row only eight bytes of its id are held."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.page.wording import shorten
from tunesmith.prepare.report.texts import asked, said
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.base import Value
from tunesmith.types.dataset import SPLITS, DatasetManifest, SplitName

__all__ = ["DatasetDiff", "SplitChange", "compare_datasets"]

_SHOWN = 5


class SplitChange(Value):
    """Rows of one split: in the first dataset, in the second, and of those how many the other one does not have."""

    before: int
    after: int
    added: int
    removed: int


class DatasetDiff(Value):
    """The differences; rows are the same when their content is.

    `moved` counts rows by "from -> to" where their splits differ. `reasons` says how many rows were left out for each
    reason before and after, `labels` the same of the training rows of each label whose number changed. `changed` names
    what else differs (before, after). `added` and `removed` show the first rows (place -> text).
    """

    first: str
    second: str
    splits: dict[SplitName, SplitChange]
    moved: dict[str, int]
    reasons: dict[str, tuple[int, int]]
    labels: dict[str, tuple[int, int]]
    changed: dict[str, tuple[str, str]]
    added: dict[str, str]
    removed: dict[str, str]

    @property
    def same_rows(self) -> bool:
        """Whether both hold the same rows in the same splits."""
        return not self.moved and all(not (each.added or each.removed) for each in self.splits.values())


class _Ids(NamedTuple):
    """Sorted distinct ids [N] and the split of each, as its place in SPLITS."""

    ids: npt.NDArray[np.uint64]
    splits: npt.NDArray[np.uint8]


def compare_datasets(first: StoredDataset, second: StoredDataset) -> DatasetDiff:
    """The differences from `first` to `second`. Raises DataError when a file of one is damaged."""
    before, after = _ids(first), _ids(second)
    one, other = first.manifest, second.manifest
    common, at, to = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    pairs = Counter(zip(before.splits[at].tolist(), after.splits[to].tolist(), strict=True))
    new, gone = ~np.isin(after.ids, common), ~np.isin(before.ids, common)
    return DatasetDiff(
        first=one.digest,
        second=other.digest,
        splits={
            name: SplitChange(
                before=one.splits[name].rows if name in one.splits else 0,
                after=other.splits[name].rows if name in other.splits else 0,
                added=int((new & (after.splits == place)).sum()),
                removed=int((gone & (before.splits == place)).sum()),
            )
            for place, name in enumerate(SPLITS)
            if name in one.splits or name in other.splits
        },
        moved={f"{SPLITS[a]} -> {SPLITS[b]}": rows for (a, b), rows in sorted(pairs.items()) if a != b},
        reasons=_counts(_reasons(one), _reasons(other)),
        labels={
            label: counts
            for label, counts in _counts(one.splits["train"].labels, other.splits["train"].labels).items()
            if counts[0] != counts[1]
        },
        changed=_changed(one, other),
        added=_shown(second, after.ids[new]),
        removed=_shown(first, before.ids[gone]),
    )


def _ids(dataset: StoredDataset) -> _Ids:
    raw, places = bytearray(), bytearray()
    for split in dataset.manifest.splits:
        for row in dataset.rows(split):
            raw += int(row.id, 16).to_bytes(8, "little")
            places.append(SPLITS.index(split))
    ids, first = np.unique(np.frombuffer(raw, np.uint64), return_index=True)
    return _Ids(ids, np.frombuffer(places, np.uint8)[first])


def _reasons(manifest: DatasetManifest) -> dict[str, int]:
    return {drop.reason: drop.rows for drop in manifest.ledger.drops}


def _counts(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (before.get(name, 0), after.get(name, 0)) for name in sorted({*before, *after})}


def _changed(one: DatasetManifest, other: DatasetManifest) -> dict[str, tuple[str, str]]:
    """What went into the two: source files by path, template, tokenizer, system prompt, kind of rows."""
    said = [
        {
            **{f"source {source.path}": source.digest for source in manifest.sources},
            "chat template": manifest.proof.template_digest,
            "tokenizer": manifest.proof.tokenizer_digest,
            "system prompt": manifest.system_prompt or "",
            "kind of rows": manifest.shape,
        }
        for manifest in (one, other)
    ]
    names = dict.fromkeys([*said[0], *said[1]])
    found = {name: (said[0].get(name, ""), said[1].get(name, "")) for name in names}
    return {name: values for name, values in found.items() if values[0] != values[1]}


def _shown(dataset: StoredDataset, ids: npt.NDArray[np.uint64]) -> dict[str, str]:
    """The first rows with one of `ids`."""
    wanted, found = set(ids.tolist()), dict[str, str]()
    for split in dataset.manifest.splits if wanted else ():
        for row in dataset.rows(split):
            if len(found) == _SHOWN:
                return found
            if int(row.id, 16) in wanted:
                found[f"{row.source}:{row.line} ({split})"] = shorten(
                    f"{asked(row.content)} -> {said(row.content)}", 200
                )
    return found
