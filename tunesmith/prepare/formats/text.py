"""Plain text for continued training: `{"text": "..."}`, or a text file, whose paragraphs, lines or whole are the rows.

Detected when a row says nothing besides but where it is from; write `format: text` for rows with other fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import ABOUT, metadata, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.preference import Text as Passage

__all__ = ["Text"]


class Text(Value):
    """A passage that is trained as it stands."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The key every row has."""
        return ("text",)

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a text and nothing else but where it is from, 0 otherwise."""
        alone = all(key in ABOUT for key in row if key != "text")
        return 1.0 if alone and isinstance(row.get("text"), str) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Passage:
        """The text of one row. Raises DataError: it is missing, empty or no text."""
        problems: list[Problem] = []
        text = required_text(row, "text", problems)
        raise_problems(problems)
        return Passage(text=text, metadata=metadata(row, self.keys))
