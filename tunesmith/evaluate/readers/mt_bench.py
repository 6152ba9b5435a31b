"""mt_bench: conversations whose later questions build on earlier answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.evaluate.task_files import json_rows, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["MtBench"]

_USERS = ("human", "user")


class MtBench(Value):
    """MT-Bench (Zheng et al. 2023, arXiv:2306.05685): JSON lines with question_id, category, turns and perhaps
    reference; or FastChat's conversations (id, conversations of from and value), whose user's turns are asked again.

    One turn makes an instruction, several a multi_turn item; the last reference is the answer. `rubric` is what a
    judging model looks at: name the metric judge, or pairwise, in the suite. The slice is `category`.
    """

    rubric: str = ""

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Multi-turn and instruction items. Raises DataError."""
        return islice((self._item(row, (path, line)) for line, row in json_rows(path)), limit or None)

    def _item(self, row: dict[str, Any], place: tuple[Path, int]) -> Item:
        if "conversations" in row:
            said = row["conversations"]
            turns: Any = [each.get("value") for each in said if each.get("from") in _USERS]
            references = [said[-1].get("value")] if said and said[-1].get("from") not in _USERS else []
        else:
            turns, references = row.get("turns"), row.get("reference") or []
        if not turns or not all(isinstance(turn, str) and turn for turn in turns):
            raise refused(*place, "has no turns of a user", f"it has: {', '.join(row)}")
        name = str(row.get("question_id", row.get("id", "")))
        tags = {"category": str(row["category"])} if "category" in row else {}
        asked = (
            {"type": "multi_turn", "turns": turns} if len(turns) > 1 else {"type": "instruction", "question": turns[0]}
        )
        answer = str(references[-1]) if references else ""
        return made({**asked, "id": name, "tags": tags, "answer": answer, "rubric": self.rubric}, place)
