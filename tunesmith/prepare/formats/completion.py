"""Prompt and completion, each a text: `{"prompt": "...", "completion": "..."}` with an optional `system`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import exchange, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Completion"]


class Completion(Value):
    """Prompt and completion become one user and one assistant message."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("prompt", "completion")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for two texts, 0.5 when both keys are there with another kind of value; 0 for judged answers."""
        if not all(key in row for key in self.keys) or isinstance(row.get("label"), bool):
            return 0.0
        return 1.0 if all(isinstance(row[key], str) for key in self.keys) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError with a problem for each field that is missing, empty or no text."""
        problems: list[Problem] = []
        prompt = required_text(row, "prompt", problems)
        answer = required_text(row, "completion", problems)
        system = optional_text(row, "system", problems)
        raise_problems(problems)
        return exchange(prompt, answer, system, metadata(row, (*self.keys, "system")))
