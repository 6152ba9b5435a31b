"""Rows as a data file holds them, before anybody knows what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Container", "Reread", "Row", "Table"]

Container = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "text"]


@dataclass(frozen=True)
class Row:
    """One row: the line it starts at (from 1), its fields, and `within`, which names it when many rows share a line.

    In containers without lines (Parquet, Arrow) `line` is the row's number.
    """

    line: int
    fields: Mapping[str, Any]
    within: str = ""


@dataclass(frozen=True)
class Reread:
    """Rows that are read again from the file each time they are iterated, and never held all at once."""

    read: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.read()


@dataclass(frozen=True)
class Table:
    """The container of one file and its rows.

    `rows` may be iterated any number of times; each time the file is read anew. A fault raises DataError: at once where
    nothing sensible can follow it, else (a bad line among good ones) after the last row, with all faults together.
    """

    container: Container
    rows: Iterable[Row]
