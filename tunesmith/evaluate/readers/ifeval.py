"""ifeval: prompts with instructions whose keeping can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from tunesmith.evaluate.constraints.ifeval import constraint_of
from tunesmith.evaluate.task_files import field, json_rows, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Ifeval"]


class Ifeval(Value):
    """IFEval (Zhou et al. 2023, arXiv:2311.07911): JSON lines with key, prompt, instruction_id_list and kwargs.

    The slice `instruction` is the instruction's id, or "several".
    """

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Instruction items with constraints. Raises DataError, also for an instruction that is not known."""
        return islice((self._item(row, (path, line)) for line, row in json_rows(path)), limit or None)

    def _item(self, row: dict[str, Any], place: tuple[Path, int]) -> Item:
        names, arguments = field(row, "instruction_id_list", place), field(row, "kwargs", place)
        if not names or len(names) != len(arguments):
            raise refused(*place, f"has {len(names)} instructions and {len(arguments)} kwargs")
        try:
            constraints: list[JsonValue] = [
                constraint_of(name, given or {}) for name, given in zip(names, arguments, strict=True)
            ]
        except ValueError as error:
            raise refused(*place, str(error)) from None
        written = {"question": field(row, "prompt", place), "constraints": constraints}
        tags = {"instruction": names[0] if len(names) == 1 else "several"}
        return made({"type": "instruction", "id": str(field(row, "key", place)), "tags": tags, **written}, place)
