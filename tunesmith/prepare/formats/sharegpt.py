"""ShareGPT's form: `{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}`.

Roles: system; human or user; gpt, assistant, chatgpt, bing, bard or model; function_call, whose value is a JSON text
`{"name": ..., "arguments": {...}}` (or a list of them); observation, function_response or tool, which answers the calls
in their order. Read besides: `conversation` for the list, role and content for from and value, `system`, and `tools` as
a list or a JSON text, of OpenAI's tools or bare functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.format import kind_of, metadata, optional_text, raise_problems
from tunesmith.prepare.loose_tools import loose_calls, loose_tools
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message, Role

__all__ = ["Sharegpt"]

_LISTS = ("conversations", "conversation")
_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"), "assistant"),
    **dict.fromkeys(("observation", "function_response", "tool"), "tool"),
    "system": "system",
}
_NAMES = (("from", "value"), ("role", "content"))


class Sharegpt(Value):
    """Turns in ShareGPT's shape, with tools and tool calls."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The key every row has (`conversation` may stand in its place)."""
        return ("conversations",)

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a list of objects with from and value, 0.5 for any other value under `conversations`."""
        key = next((name for name in _LISTS if name in row), None)
        if key is None:
            return 0.0
        turns = row[key]
        fits = isinstance(turns, list) and all(isinstance(each, dict) and _names(each) in _NAMES for each in turns)
        return 1.0 if fits else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The conversation of one row. Raises DataError: every problem with its field: `conversations[2].from`."""
        problems: list[Problem] = []
        key = next((name for name in _LISTS if name in row), _LISTS[0])
        tools = loose_tools(row.get("tools"), "tools", problems)
        system = optional_text(row, "system", problems)
        turns = row.get(key)
        if not isinstance(turns, list) or not turns:
            is_what = "an empty list" if turns == [] else "missing" if key not in row else kind_of(turns)
            fix = 'write [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]'
            problems.append(Problem(f"must be a list of turns, is {is_what}", field=key, fix=fix))
            turns = []
        messages = _messages(turns, key, problems)
        raise_problems(problems)
        raise_problems([_renamed(each, key) for each in order_problems(messages, tools)])
        opening = [Message(role="system", content=system)] if system else []
        return Conversation(
            messages=(*opening, *messages), tools=tools, metadata=metadata(row, (key, "tools", "system"))
        )


def _names(turn: Mapping[str, Any]) -> tuple[str, str]:
    return ("from", "value") if "from" in turn else ("role", "content")


def _messages(turns: list[Any], key: str, problems: list[Problem]) -> list[Message]:
    messages: list[Message] = []
    open_calls: list[str] = []
    calls = 1
    for index, turn in enumerate(turns):
        message = _message(turn, f"{key}[{index}]", (calls, open_calls), problems)
        if message is None:
            continue
        calls += len(message.tool_calls)
        open_calls = [*open_calls[message.role == "tool" :], *(call.id for call in message.tool_calls)]
        messages.append(message)
    return messages


def _message(turn: object, field: str, calls: tuple[int, list[str]], problems: list[Problem]) -> Message | None:
    """One turn; `calls` are the number of the next tool call and the ids of those still to be answered."""
    if not isinstance(turn, dict):
        fix = 'write {"from": ..., "value": ...}'
        problems.append(Problem(f"must be an object, is {kind_of(turn)}", field=field, fix=fix))
        return None
    before = len(problems)
    speaker, said = _names(turn)
    for other in turn:
        if other not in (speaker, said, "weight") and nearest(other, (speaker, said, "weight")):
            fix = f"did you mean {nearest(other, (speaker, said, 'weight'))!r}?"
            problems.append(Problem("is not a known key of a turn", field=f"{field}.{other}", fix=fix))
    role = _role(turn.get(speaker), f"{field}.{speaker}", problems)
    text = _text(turn.get(said), f"{field}.{said}", problems)
    weight = turn.get("weight")
    if weight is not None and (weight not in (0, 1) or isinstance(weight, bool) or role != "assistant"):
        fix = "write 0 or 1, on the assistant's turns only"
        problems.append(Problem(f"is {kind_of(weight)}", field=f"{field}.weight", fix=fix))
    first, waiting = calls
    asked = loose_calls(text, f"{field}.{said}", first, problems) if turn.get(speaker) == "function_call" else ()
    if len(problems) > before or role is None:
        return None
    answered = (waiting[0] if waiting else None) if role == "tool" else None
    content = None if asked else text
    given = {"role": role, "content": content, "tool_calls": asked, "tool_call_id": answered}
    return Message.model_validate({**given, "weight": weight and int(weight)})


def _role(found: object, field: str, problems: list[Problem]) -> Role | None:
    role = _ROLES.get(found) if isinstance(found, str) else None
    if role is None:
        shown = "is missing" if found is None else f"{found!r} is not a role"
        close = nearest(found.lower(), _ROLES) if isinstance(found, str) else None
        fix = f"did you mean {close!r}? " if close else ""
        problems.append(Problem(shown, field=field, fix=f"{fix}known: {', '.join(_ROLES)}"))
    return role


def _text(found: object, field: str, problems: list[Problem]) -> str:
    if isinstance(found, str) and found.strip():
        return found
    is_what = "empty" if isinstance(found, str) else "missing" if found is None else f"{kind_of(found)}, not a text"
    problems.append(Problem(f"is {is_what}", field=field, fix="write a text, or remove the row"))
    return ""


def _renamed(problem: Problem, key: str) -> Problem:
    return replace(problem, field=re.sub(r"^messages", key, problem.field or key))
