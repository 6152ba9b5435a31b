"""Keeps rows by a field that came with them, such as their language, licence or source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from tunesmith.prepare.step import Outcome
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Where"]


class Where(Value):
    """Keep rows whose metadata `field` is one of `values`; others are dropped as `not_where`.

    A row without the field is dropped too, unless `values` holds the empty text.
    """

    field: str = "language"
    values: tuple[str, ...] = Field(default=("en",), min_length=1)

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """Compares one field; opens nothing."""
        wanted = frozenset(self.values)

        def decide(row: Row) -> Outcome:
            return Outcome(row) if row.metadata.get(self.field, "") in wanted else Outcome(None, "not_where")

        return decide
