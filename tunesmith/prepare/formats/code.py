"""Code to a specification: `{"spec": ..., "code": ...}` with an optional `system`; `language` and others are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import exchange, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Code"]


class Code(Value):
    """What a program is to do, and the program."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("spec", "code")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for two texts, 0.5 when both keys are there with another kind of value."""
        if not all(key in row for key in self.keys):
            return 0.0
        return 1.0 if all(isinstance(row[key], str) for key in self.keys) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError with a problem for each field that is missing, empty or no text."""
        problems: list[Problem] = []
        spec = required_text(row, "spec", problems)
        code = required_text(row, "code", problems)
        system = optional_text(row, "system", problems)
        raise_problems(problems)
        return exchange(spec, code, system, metadata(row, (*self.keys, "system")))
