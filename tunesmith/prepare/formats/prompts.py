"""Prompts to be answered: `{"messages": [..., {"role": "user", ...}], ...}` or `{"prompt": ...}` (a text or messages).

All other fields are kept for graders: `{{item.FIELD}}`. `reference` is besides what evaluation compares with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import optional_text, raise_problems
from tunesmith.prepare.pairs import Placed, read_prompt, turns_problems
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.preference import Prompt

__all__ = ["Prompts"]

_ANSWERS = ("completion", "chosen", "rejected", "response", "output", "refusal")


class Prompts(Value):
    """Prompts that the model answers itself, graded by fields of the row."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The key every row has; `messages` may stand in its place."""
        return ("prompt",)

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a prompt without any answer, 0.9 for messages that end with a question, 0 otherwise."""
        if isinstance(row.get("prompt"), str | list) and not any(key in row for key in _ANSWERS):
            return 1.0
        messages = row.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        return 0.9 if isinstance(last, dict) and last.get("role") in ("user", "tool") else 0.0

    def parse(self, row: Mapping[str, Any]) -> Prompt:
        """The prompt of one row. Raises DataError: every problem with its field."""
        problems: list[Problem] = []
        key = "messages" if "messages" in row and "prompt" not in row else "prompt"
        tools = read_tools(row.get("tools"), problems)
        prompt = read_prompt(row, key, problems)
        reference = optional_text(row, "reference", problems)
        system = optional_text(row, "system", problems)
        if prompt.messages and prompt.messages[-1].role == "assistant":
            fix = "let the prompt end with the user's message; put an expected answer into reference"
            problems.append(Problem("ends with an assistant's answer", field=key, fix=fix))
        raise_problems(problems)
        answer = Placed((Message(role="assistant", content=reference),), "reference")
        raise_problems(turns_problems(prompt, answer, tools))
        opening = (Message(role="system", content=system),) if system else ()
        item = {name: value for name, value in row.items() if name not in (key, "tools", "system")}
        return Prompt(
            messages=(*opening, *prompt.messages),
            reference=reference,
            tools=tools,
            metadata={"item": json.dumps(item, ensure_ascii=False)} if item else {},
        )
