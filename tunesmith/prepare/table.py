"""Rows as a data file holds them, before anybody knows what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Container", "Row", "Table"]

Container = Literal["jsonl", "json", "csv", "tsv"]


@dataclass(frozen=True)
class Row:
    """One row: the line it starts at (from 1), its fields, and `within`, which names it when many rows share a line."""

    line: int
    fields: Mapping[str, Any]
    within: str = ""


@dataclass(frozen=True)
class Table:
    """All rows of one file, and the container they were found in."""

    container: Container
    rows: tuple[Row, ...]
