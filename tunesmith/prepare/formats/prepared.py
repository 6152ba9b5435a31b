"""Rows of a prepared dataset: lines of a split, or of its `dropped.jsonl` once they are repaired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import kind_of, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation
from tunesmith.types.preference import Labelled, Preference, Prompt, Row, Text

__all__ = ["Prepared"]

_RESTORE = "restore the row from the dataset it was taken of"
_KINDS: Mapping[str, type[Preference | Labelled | Prompt | Text]] = {
    "chosen": Preference,
    "label": Labelled,
    "reference": Prompt,
    "text": Text,
}


class Prepared(Value):
    """What a row says stands under `content`, of any kind; it is read as it was stored, metadata included."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("source", "line", "content")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a source, a line and a content that is an object, 0 otherwise."""
        return float(isinstance(row.get("content"), dict) and not _place_problems(row))

    def parse(self, row: Mapping[str, Any]) -> Row:
        """The content of one row. Raises DataError: every problem with its field."""
        content, problems = row.get("content"), _place_problems(row)
        if not isinstance(content, dict):
            is_what = "missing" if content is None else kind_of(content)
            problems.append(Problem(f"must be an object, is {is_what}", field="content", fix=_RESTORE))
            raise DataError(problems)
        read_tools(content.get("tools", []), problems)
        raise_problems(problems)
        kind = next((kind for key, kind in _KINDS.items() if key in content), Conversation)
        try:
            found = kind.model_validate(content)
        except ValidationError as error:
            raise DataError(list(map(_problem, error.errors(include_url=False)))) from None
        if not isinstance(found, Text):
            orders = (order_problems(each.messages, each.tools) for each in found.conversations)
            raise_problems(list(dict.fromkeys(problem for order in orders for problem in order)))
        return found


def _place_problems(row: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the file and the line that the row came from."""
    problems: list[Problem] = []
    required_text(row, "source", problems)
    line = row.get("line")
    if not isinstance(line, int) or isinstance(line, bool):
        is_what = "missing" if line is None else kind_of(line)
        problems.append(Problem(f"must be a whole number, is {is_what}", field="line", fix=_RESTORE))
    return problems


def _problem(fault: Any) -> Problem:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ")
    return Problem(message[:1].lower() + message[1:], field=f"content{field}", fix="write it as in other rows")
