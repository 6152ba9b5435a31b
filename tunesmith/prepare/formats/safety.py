"""Safety data: `{"prompt": ..., "refusal": ...}`; prompt is a text or messages. Other fields are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import metadata, optional_text, raise_problems, required_text
from tunesmith.prepare.pairs import Placed, read_prompt, turns_problems
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message

__all__ = ["Safety"]


class Safety(Value):
    """A prompt that is not to be followed, and how to say so."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("prompt", "refusal")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a prompt and a refusal that is a text, 0.5 when only the keys are there."""
        if "prompt" not in row or "refusal" not in row:
            return 0.0
        return 1.0 if isinstance(row["refusal"], str) and isinstance(row["prompt"], str | list) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: every problem with its field."""
        problems: list[Problem] = []
        prompt = read_prompt(row, "prompt", problems)
        refusal = required_text(row, "refusal", problems)
        system = optional_text(row, "system", problems)
        raise_problems(problems)
        answer = Placed((Message(role="assistant", content=refusal),), "refusal")
        raise_problems(turns_problems(prompt, answer, ()))
        opening = (Message(role="system", content=system),) if system else ()
        messages = (*opening, *prompt.messages, *answer.messages)
        return Conversation(messages=messages, metadata=metadata(row, (*self.keys, "system")))
