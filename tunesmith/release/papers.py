"""The papers of a release: its model card (README.md) and its checklist, written beside the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tunesmith.release.card import model_card
from tunesmith.release.checklist import Checklist, checklist, checklist_page
from tunesmith.release.evidence import Evidence, read_evidence
from tunesmith.release.registry import Registry
from tunesmith.store.values import write_value
from tunesmith.types.release import Release

__all__ = ["CARD_FILE", "CHECKLIST_FILE", "Papers", "write_card"]

CARD_FILE = "README.md"
CHECKLIST_FILE = "checklist.json"


class Papers(NamedTuple):
    """The card's text and file, and the checklist."""

    card: str
    path: Path
    checklist: Checklist


def write_card(release: Release, registry: Registry, home: Path) -> Papers:
    """Write README.md, checklist.md and checklist.json of a registered release into its folder, anew if need be."""
    evidence, previous = read_evidence(release, home), _previous(release, registry, home)
    listed = checklist(evidence, previous)
    card = model_card(evidence, previous, listed)
    folder = Path(release.adapter_path).parent
    _write(folder / CARD_FILE, card)
    _write(folder / "checklist.md", checklist_page(release, listed))
    write_value(folder / CHECKLIST_FILE, listed)
    return Papers(card, folder / CARD_FILE, listed)


def _previous(release: Release, registry: Registry, home: Path) -> Evidence | None:
    """The evidence of the version of the same name before this one."""
    earlier = [each for each in registry.list() if each.name == release.name and each.version < release.version]
    return read_evidence(max(earlier, key=lambda each: each.version), home) if earlier else None


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
