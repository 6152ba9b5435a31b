"""The tables of the report, as values ready to show."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from tunesmith.page.wording import shorten
from tunesmith.prepare.report.facts import DataFacts
from tunesmith.prepare.report.texts import asked, said
from tunesmith.types.dataset import DatasetManifest, DroppedRow

__all__ = ["DroppedExample", "LabelRow", "LengthRow", "Tile", "dropped_examples", "label_rows", "length_rows", "tiles"]


class Tile(NamedTuple):
    """One large figure."""

    label: str
    value: str
    note: str


class LengthRow(NamedTuple):
    """Lengths of one place in tokens."""

    place: str
    rows: int
    median: int
    most: int
    longest: int


class LabelRow(NamedTuple):
    """One label: rows in each split in the order of the manifest; `width` is its training rows, the most being 100."""

    label: str
    counts: tuple[int, ...]
    width: float


class DroppedExample(NamedTuple):
    """One row that was left out."""

    place: str
    asked: str
    said: str
    detail: str


def tiles(facts: DataFacts) -> tuple[Tile, ...]:
    """The figures that a reader wants first."""
    manifest, ledger = facts.manifest, facts.manifest.ledger
    trained = sum(split.trained_tokens for split in manifest.splits.values())
    longest = max(split.longest for split in manifest.splits.values())
    found = [
        Tile("Rows used", f"{ledger.rows_used:,}", f"of {ledger.rows_in:,} that came in"),
        Tile("Tokens", f"{ledger.tokens_used:,}", f"{trained:,} of them are learned"),
        Tile("Longest row", f"{longest:,}", f"tokens; {facts.limit:,} are allowed"),
    ]
    if manifest.labels:
        counts = manifest.splits["train"].labels.values()
        found.append(Tile("Labels", f"{len(manifest.labels):,}", f"{min(counts):,} to {max(counts):,} training rows"))
    else:
        found.append(
            Tile("Kind of rows", manifest.shape, ", ".join(sorted({each.format for each in manifest.sources})))
        )
    shared = sum(pair.normalised for pair in facts.overlaps.pairs)
    near = [pair.near for pair in facts.overlaps.pairs if pair.near is not None]
    note = f"and {sum(near):,} nearly the same" if near else "near duplicates not looked for"
    found.append(Tile("Rows that splits share", f"{shared:,}", note))
    return tuple(found)


def length_rows(lengths: Mapping[str, Mapping[int, int]]) -> tuple[LengthRow, ...]:
    """Median, 95% and longest of each place."""
    return tuple(
        LengthRow(place, sum(counts.values()), _quantile(counts, 0.5), _quantile(counts, 0.95), max(counts))
        for place, counts in lengths.items()
    )


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """The smallest length that at least `share` of the rows stay within."""
    sizes = sorted(counts)
    wanted = share * sum(counts.values())
    return next(
        size for size, rows in zip(sizes, accumulate(counts[size] for size in sizes), strict=True) if rows >= wanted
    )


def label_rows(manifest: DatasetManifest) -> tuple[LabelRow, ...]:
    """The labels, those with the most training rows first; empty when the rows are no classification."""
    names = dict.fromkeys(label for split in manifest.splits.values() for label in split.labels)
    train = manifest.splits["train"].labels
    most = max(train.values(), default=0) or 1
    rows = [
        LabelRow(
            label,
            tuple(split.labels.get(label, 0) for split in manifest.splits.values()),
            round(100 * train.get(label, 0) / most, 1),
        )
        for label in names
    ]
    return tuple(sorted(rows, key=lambda row: (-row.width, row.label)))


def dropped_examples(rows: tuple[DroppedRow, ...]) -> tuple[DroppedExample, ...]:
    """The first rows that were left out for one reason."""
    return tuple(
        DroppedExample(
            f"{row.source}:{row.line}", shorten(asked(row.content)), shorten(said(row.content), 160), row.detail
        )
        for row in rows
    )
