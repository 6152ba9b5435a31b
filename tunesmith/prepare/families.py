"""Which rows were made of which: a row and all that augmentation made of it are one family, and land in one split."""

from __future__ import annotations

from tunesmith.prepare.content import prompt_key
from tunesmith.types.preference import Row

__all__ = ["FAMILY", "PARENT", "family"]

FAMILY = "family"
PARENT = "parent"
"""Metadata: of every row that augmentation wrote its family, of those that it made the parent's place as file:line."""


def family(row: Row) -> str:
    """What the row's metadata says, else the digest of its prompt: rows that ask the same are one family too."""
    return row.metadata.get(FAMILY) or prompt_key(row)
