"""OpenAI's chat form: `{"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}`.

Read as meant: content given as text parts (joined), tool-call arguments given as an object (written as JSON text).
Refused: unknown roles and keys, images and audio, turns that do not alternate, tool calls without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.chat_messages import read_messages
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import metadata, raise_problems
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Chat"]


class Chat(Value):
    """Messages in OpenAI's shape, with tools and tool calls."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("messages",)

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a list of objects that have roles, 0.5 for any other value under `messages`."""
        if "messages" not in row:
            return 0.0
        messages = row["messages"]
        fits = isinstance(messages, list) and all(isinstance(each, dict) and "role" in each for each in messages)
        return 1.0 if fits else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The conversation of one row. Raises DataError: every problem with its field, such as `messages[2].role`."""
        problems: list[Problem] = []
        for key in ("functions", "function_call"):
            if row.get(key) is not None:
                problems.append(Problem("is OpenAI's old form", field=key, fix="write tools and tool_calls instead"))
        for key in row:
            if key not in ("messages", "tools") and nearest(key, ("messages", "tools")):
                problems.append(
                    Problem(
                        "is not a known key", field=key, fix=f"did you mean {nearest(key, ('messages', 'tools'))!r}?"
                    )
                )
        tools = read_tools(row.get("tools"), problems)
        messages = read_messages(row.get("messages"), "messages", problems)
        raise_problems(problems)
        raise_problems(order_problems(messages, tools))
        return Conversation(messages=tuple(messages), tools=tools, metadata=metadata(row, ("messages", "tools")))
