"""What a stored dataset holds, gathered in one pass over its rows; memory does not grow with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tunesmith.prepare.report.annotations import Agreement, Annotations
from tunesmith.prepare.report.sampling import Smallest
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.dataset import DroppedRow, Example, RowFinding

__all__ = ["DROPPED", "LANGUAGE", "FindingKind", "Profile", "profile"]

DROPPED = "dropped"
LANGUAGE = "language"
"""The kind of the findings that say a row's language; every row has one, so they are a balance and no complaint."""

LICENCE_FIELDS = ("license", "licence", "licenses")
_SAMPLES, _EXAMPLES = 6, 4


class FindingKind(NamedTuple):
    """All findings of one kind: `found` of them in `rows` rows, the first few, and rows by place (split or dropped)."""

    kind: str
    found: int
    rows: int
    places: Mapping[str, int]
    examples: tuple[RowFinding, ...]


class Profile(NamedTuple):
    """What one pass gathers.

    `lengths`: place (split or dropped) -> tokens of the longest sequence -> rows. `languages`: place -> code -> rows.
    `licences`: what the rows themselves say -> rows; `trained_licences` that of the training rows, '' for those that
    say nothing. `samples`: a few rows of each split, the same ones every time.
    `dropped`: reason -> its first rows.
    """

    lengths: Mapping[str, Mapping[int, int]]
    languages: Mapping[str, Mapping[str, int]]
    licences: Mapping[str, int]
    trained_licences: Mapping[str, int]
    findings: tuple[FindingKind, ...]
    samples: Mapping[str, tuple[Example, ...]]
    dropped: Mapping[str, tuple[DroppedRow, ...]]
    agreement: Agreement | None


def profile(dataset: StoredDataset) -> Profile:
    """The profile of `dataset`. Raises DataError when one of its files is damaged."""
    lengths: dict[str, Counter[int]] = defaultdict(Counter)
    licences: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    annotations = Annotations()
    samples: dict[str, tuple[Example, ...]] = {}
    dropped: dict[str, list[DroppedRow]] = defaultdict(list)
    for split in dataset.manifest.splits:
        smallest = Smallest[Example](_SAMPLES)
        for row in dataset.rows(split):
            _measure(row, lengths[split])
            named = _licence(row)
            licences.update(named)
            if split == "train":
                trained[named[0] if named else ""] += 1
            annotations.add(row.content, row.source, row.line)
            smallest.add(row.id, row)
        samples[split] = smallest.found()
    for left_out in dataset.dropped():
        _measure(left_out, lengths[DROPPED])
        annotations.add(left_out.content, left_out.source, left_out.line)
        if len(dropped[left_out.reason]) < _EXAMPLES:
            dropped[left_out.reason].append(left_out)
    languages, findings = _findings(dataset.findings())
    return Profile(
        lengths={place: dict(sorted(counts.items())) for place, counts in lengths.items() if counts},
        languages=languages,
        licences=dict(licences.most_common()),
        trained_licences=dict(trained.most_common()),
        findings=findings,
        samples=samples,
        dropped={reason: tuple(rows) for reason, rows in dropped.items()},
        agreement=annotations.agreement(),
    )


def _measure(row: Example | DroppedRow, lengths: Counter[int]) -> None:
    if row.sizes:
        lengths[max(row.sizes)] += 1


def _licence(row: Example) -> tuple[str, ...]:
    given = row.content.metadata
    return tuple(given[field] for field in LICENCE_FIELDS if given.get(field))[:1]


def _findings(found: Iterable[RowFinding]) -> tuple[dict[str, dict[str, int]], tuple[FindingKind, ...]]:
    """Languages by place, and all other findings by kind, the most frequent first."""
    languages: dict[str, Counter[str]] = defaultdict(Counter)
    counts: Counter[str] = Counter()
    places: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, tuple[str, int]] = {}
    examples: dict[str, list[RowFinding]] = defaultdict(list)
    for each in found:
        if each.kind == LANGUAGE:
            languages[each.place][each.detail] += 1
            continue
        counts[each.kind] += 1
        # A step's findings of one row stand together, so a row is new when it differs from the one before.
        if last.get(each.kind) != (each.source, each.line):
            last[each.kind] = (each.source, each.line)
            places[each.kind][each.place] += 1
            if len(examples[each.kind]) < _EXAMPLES:
                examples[each.kind].append(each)
    kinds = (
        FindingKind(kind, count, places[kind].total(), dict(places[kind]), tuple(examples[kind]))
        for kind, count in counts.items()
    )
    return {place: dict(each.most_common()) for place, each in languages.items()}, tuple(
        sorted(kinds, key=lambda each: (-each.rows, each.kind))
    )
