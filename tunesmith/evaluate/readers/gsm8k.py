"""gsm8k: word problems whose answer is a number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.evaluate.task_files import field, json_rows, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Gsm8k"]


class Gsm8k(Value):
    """GSM8K (Cobbe et al. 2021, arXiv:2110.14168): JSON lines with question and answer, the number after ####."""

    instruction: str = "Think step by step, then write the final answer as a number after ####."

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Number items. Raises DataError."""
        return islice((self._item(row, (path, line)) for line, row in json_rows(path)), limit or None)

    def _item(self, row: dict[str, Any], place: tuple[Path, int]) -> Item:
        _, mark, number = str(field(row, "answer", place)).rpartition("####")
        if not mark or not number.strip():
            raise refused(*place, "its answer has no number after ####")
        written = {"question": field(row, "question", place), "answer": number.strip(), "instruction": self.instruction}
        return made({"type": "number", "id": f"{place[0].stem}-{place[1]}", **written}, place)
