"""Any CSV or JSONL file whose prompt and completion columns the recipe names under `columns:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.format import exchange, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Columns"]


class Columns(Value):
    """Named columns become a user and an assistant message, and optionally a system message."""

    prompt: str = "prompt"
    completion: str = "completion"
    system: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns every row has."""
        return (self.prompt, self.completion, *((self.system,) if self.system else ()))

    def score(self, row: Mapping[str, Any]) -> float:
        """0: this format is never guessed, the recipe's `columns:` asks for it."""
        return 0.0

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: a problem for each column missing, empty or no text."""
        problems: list[Problem] = []
        for key in self.keys:
            if key not in row:
                close = nearest(key, row)
                fix = f"did you mean {close!r}? " if close else ""
                found = ", ".join(map(repr, row)) or "no columns"
                problems.append(Problem("is not a column", field=key, fix=f"{fix}write one of {found} under columns"))
        raise_problems(problems)
        prompt = required_text(row, self.prompt, problems)
        answer = required_text(row, self.completion, problems)
        system = optional_text(row, self.system, problems) if self.system else ""
        raise_problems(problems)
        return exchange(prompt, answer, system, metadata(row, self.keys))
