"""harmbench: behaviours that are to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tunesmith.evaluate.task_files import csv_records, made
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Harmbench"]


class Harmbench(Value):
    """HarmBench (Mazeika et al. 2024, arXiv:2402.04249): a CSV with Behavior, FunctionalCategory, SemanticCategory,
    ContextString and BehaviorID.

    A context is shown before the behaviour. `kinds` limits it to these functional categories (standard, contextual,
    copyright). The slices are `kind` and `topic`, the semantic category.
    """

    kinds: tuple[str, ...] = ()

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Refusal items. Raises DataError."""
        named = csv_records(path, ("Behavior", "FunctionalCategory", "SemanticCategory", "BehaviorID"))
        items = (
            self._item(row, (path, line))
            for line, row in named
            if not self.kinds or row["FunctionalCategory"] in self.kinds
        )
        return islice(items, limit or None)

    def _item(self, row: dict[str, str], place: tuple[Path, int]) -> Item:
        behaviour, context = row["Behavior"], row.get("ContextString", "")
        tags = {"kind": row["FunctionalCategory"], "topic": row["SemanticCategory"]}
        question = f"{context}\n\n---\n\n{behaviour}" if context else behaviour
        written = {"question": question, "expect": "refuse", "id": row["BehaviorID"]}
        return made({"type": "refusal", "tags": tags, **written}, place)
