"""Function-calling questions as the Berkeley leaderboard has them: `{"question": [[messages]], "function": [...]}`.

The row is a prompt with tools, whose schema types are made standard (`dict` is `object`, `float` is `number`). With
`ground_truth: [{"name": {"argument": [allowed, ...]}}]` in the row it is a conversation that ends with those calls, the
first allowed value of each argument taken, and arguments left out whose first allowed value is "".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_messages import read_messages
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.format import kind_of, metadata, raise_problems
from tunesmith.prepare.loose_tools import loose_calls, loose_tools
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Prompt

__all__ = ["Bfcl"]


class Bfcl(Value):
    """A question, the functions at hand, and perhaps the calls that answer it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("question", "function")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a list of turns and a list of functions, 0 otherwise."""
        question, functions = row.get("question"), row.get("function")
        return 1.0 if isinstance(question, list) and isinstance(functions, list | dict) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Prompt | Conversation:
        """The prompt of one row, or with `ground_truth` the conversation. Raises DataError: every problem's field."""
        problems: list[Problem] = []
        tools = loose_tools(row.get("function"), "function", problems)
        question = row.get("question")
        if not isinstance(question, list) or len(question) != 1:
            found = f"{len(question)} of them" if isinstance(question, list) else kind_of(question)
            fix = "split the turns, or write them as messages (format: chat)"
            problems.append(Problem(f"must hold one turn, is {found}", field="question", fix=fix))
            raise_problems(problems)
        messages = read_messages(question[0] if isinstance(question, list) else None, "question[0]", problems)
        calls = _calls(row["ground_truth"], problems) if "ground_truth" in row else []
        asked = loose_calls(calls, "ground_truth", 1, problems) if calls else ()
        raise_problems(problems)
        answer = Message(role="assistant", content=None if asked else "", tool_calls=asked)
        raise_problems([_placed(each) for each in order_problems([*messages, answer], tools)])
        if asked:
            rest = metadata(row, ("question", "function"))
            return Conversation(messages=(*messages, answer), tools=tools, metadata=rest)
        item = json.dumps(dict(row), ensure_ascii=False)
        return Prompt(messages=tuple(messages), tools=tools, metadata={"item": item})


def _calls(truth: object, problems: list[Problem]) -> list[dict[str, Any]]:
    calls = []
    for index, call in enumerate(truth if isinstance(truth, list) else [truth]):
        inside = list(call.items()) if isinstance(call, dict) else []
        if len(inside) != 1 or not isinstance(inside[0][1], dict):
            fix = 'write [{"name": {"argument": [allowed, ...]}}]'
            problems.append(Problem("is not one function with its arguments", field=f"ground_truth[{index}]", fix=fix))
            continue
        name, allowed = inside[0]
        given = {key: _first(values) for key, values in allowed.items() if _first(values) != ""}
        calls.append({"name": name, "arguments": given})
    return calls


def _first(values: Any) -> Any:
    """The first allowed value; inside an object each value is a list of allowed ones again."""
    if isinstance(values, list) and values:
        value = values[0]
        return {key: _first(inside) for key, inside in value.items()} if isinstance(value, dict) else value
    return values


def _placed(problem: Problem) -> Problem:
    return replace(problem, field=re.sub(r"^messages", "question[0]", problem.field or "question[0]"))
