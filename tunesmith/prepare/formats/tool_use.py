"""Tool use in one row: `{"instruction": ..., "tools": [...], "output": {"name": ..., "arguments": {...}}}`.

`tools` and `output` are values or JSON texts; tools are OpenAI's or bare functions; the output is one call, a list of
calls, or a text where no tool is to be called. `query` and `answers` may stand in for instruction and output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.format import metadata, optional_text, raise_problems, required_text
from tunesmith.prepare.loose_tools import loose_calls, loose_tools, unpacked_json
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message

__all__ = ["ToolUse"]

_PAIRS = (("instruction", "output"), ("query", "answers"))


class ToolUse(Value):
    """An instruction, the tools at hand, and the calls to make."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has (`query` and `answers` may stand in place of instruction and output)."""
        return ("instruction", "tools", "output")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for an instruction, an output and tools that are a list or a JSON text, 0 otherwise."""
        tools = unpacked_json(row.get("tools"))
        pair = any(isinstance(row.get(asked), str) and answer in row for asked, answer in _PAIRS)
        return 1.0 if pair and isinstance(tools, list | dict) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: every problem with its field, such as `output.name`."""
        problems: list[Problem] = []
        asked, answered = next((pair for pair in _PAIRS if pair[0] in row), _PAIRS[0])
        instruction = required_text(row, asked, problems)
        before = len(problems)
        tools = loose_tools(row.get("tools"), "tools", problems)
        if not tools and len(problems) == before:
            fix = "list the tools, or leave the key out of all rows (format: instruction)"
            problems.append(Problem("is missing or empty", field="tools", fix=fix))
        system = optional_text(row, "system", problems)
        answer = _answer(row, answered, problems)
        raise_problems(problems)
        opening = (Message(role="system", content=system),) if system else ()
        messages = (*opening, Message(role="user", content=instruction), answer)
        raise_problems(
            [Problem(each.message, field=answered, fix=each.fix) for each in order_problems(messages, tools)]
        )
        used = (asked, answered, "tools", "system")
        return Conversation(messages=messages, tools=tools, metadata=metadata(row, used))


def _answer(row: Mapping[str, Any], key: str, problems: list[Problem]) -> Message:
    output = unpacked_json(row.get(key))
    if not isinstance(output, list | dict) or not output:
        return Message(role="assistant", content=required_text(row, key, problems))
    calls = loose_calls(output, key, 1, problems)
    return Message(role="assistant", content=None if calls else "", tool_calls=calls)
