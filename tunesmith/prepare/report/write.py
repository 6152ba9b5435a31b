"""Writing the report of a stored dataset into its folder: a page, a card, and what annotators have to decide."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tunesmith.page.wording import shorten
from tunesmith.prepare.report.card import dataset_card
from tunesmith.prepare.report.facts import DataFacts, gate_facts
from tunesmith.prepare.report.overlap import overlaps
from tunesmith.prepare.report.page import html_page
from tunesmith.prepare.report.profile import profile
from tunesmith.prepare.report.texts import asked
from tunesmith.prepare.report.tokens import MaskedRow, Shows, masked_rows
from tunesmith.prepare.step import TableStep
from tunesmith.store.datasets import DROPPED_FILE, StoredDataset
from tunesmith.store.values import write_value

__all__ = ["ADJUDICATION_FILE", "CARD_FILE", "FACTS_FILE", "REPORT_FILE", "DataReport", "gather", "write_report"]

REPORT_FILE = "report.html"
CARD_FILE = "card.md"
FACTS_FILE = "facts.json"
ADJUDICATION_FILE = "adjudication.jsonl"

_MOST_DOWNLOAD = 1 << 20
_MASKED_ROWS = 3


class DataReport(NamedTuple):
    """Where the page, the card and the facts for gates lie, and the adjudication list when annotators differ."""

    page: Path
    card: Path
    facts: Path
    adjudication: Path | None


def write_report(
    dataset: StoredDataset, renderer: Shows, *, title: str, limit: int, near: TableStep | None = None
) -> DataReport:
    """Write the report of `dataset` into its folder, or leave the one that is there.

    `limit` is the most tokens a row may have; `near` looks for near duplicates between the splits.
    """
    page, card = dataset.path / REPORT_FILE, dataset.path / CARD_FILE
    adjudication, known = dataset.path / ADJUDICATION_FILE, dataset.path / FACTS_FILE
    if not (page.is_file() and card.is_file() and known.is_file()):
        facts = gather(dataset, renderer, title=title, limit=limit, near=near)
        if facts.profile.agreement is not None and facts.profile.agreement.disputed:
            _write(adjudication, (f"{item.model_dump_json()}\n" for item in facts.profile.agreement.disputed))
        write_value(known, gate_facts(facts))
        _write(card, (dataset_card(facts),))
        _write(page, (html_page(facts),))
    return DataReport(page, card, known, adjudication if adjudication.is_file() else None)


def gather(dataset: StoredDataset, renderer: Shows, *, title: str, limit: int, near: TableStep | None) -> DataFacts:
    """All that the report says."""
    found = profile(dataset)
    masked: tuple[MaskedRow, ...] = ()
    for split, samples in found.samples.items():
        masked += tuple(masked_rows(split, samples[: _MASKED_ROWS if split == "train" else 1], renderer))
    return DataFacts(
        title=title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        manifest=dataset.manifest,
        profile=found,
        overlaps=overlaps(dataset, near, lambda content: shorten(asked(content))),
        masked=masked,
        limit=limit,
        download=_download(dataset.path / DROPPED_FILE),
    )


def _download(path: Path) -> str:
    """The file as a data address when it is at most a mebibyte, so that the page alone is enough; else ''."""
    if not path.is_file() or path.stat().st_size > _MOST_DOWNLOAD:
        return ""
    return "data:application/jsonl;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Write a draft and rename it, so that a kill leaves no half file."""
    draft = path.with_name(f".{path.name}.partial")
    with draft.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(pieces)
    draft.replace(path)
