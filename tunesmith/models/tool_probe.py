"""Finds out how a chat template writes tool calls, by rendering turns with calls that are known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunesmith.errors import RenderingError
from tunesmith.types.conversation import FunctionCall, Message, ToolCall
from tunesmith.types.tool_syntax import Part, ToolSyntax

__all__ = ["PROBE_TOOL", "carries_tools", "probe_syntax"]

_OFFERED, _NAMES, _IDS = "tunesmith_offered", ("tunesmith_first", "tunesmith_other"), ("callAAAA1", "callBBBB2")
_ARGUMENTS, _RESULT, _ANSWER = {"tunesmith": 1}, "tunesmith-result", "tunesmith-answer"
_ASKED = Message(role="user", content="?")
PROBE_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": _OFFERED,
        "description": "d",
        "parameters": {"type": "object", "properties": {"tunesmith": {"type": "integer", "description": "d"}}},
    },
}

Text = Callable[[Sequence[Message], Sequence[dict[str, Any]]], str]
"""The text of a conversation with tools; raises RenderingError when the template refuses it."""


def carries_tools(text: Text) -> bool:
    """Whether the template that `text` renders with shows tools, calls, their arguments and their results."""
    result = Message(role="tool", content=_RESULT, tool_call_id=_IDS[0], name=_NAMES[0])
    try:
        shown = text((_ASKED, _turn(1), result), (dict(PROBE_TOOL),))
    except RenderingError:
        return False
    return all(word in shown for word in (_OFFERED, _NAMES[0], *_ARGUMENTS, _RESULT))


def probe_syntax(body: Callable[[Message], str], special: Mapping[str, int]) -> ToolSyntax | None:
    """The syntax, given `body`, the text of an assistant's turn, and the ids of special tokens by their text.

    None when the calls are not written as a name followed by a JSON object.
    """
    try:
        lead = body(Message(role="assistant", content=_ANSWER)).partition(_ANSWER)[0]
        one = body(_turn(1)).removeprefix(lead)
    except RenderingError:
        return None
    try:
        two = body(_turn(2)).removeprefix(lead)
    except RenderingError:
        two = ""  # this template takes one call at a time
    first, single = _call_in(one, _NAMES[0], 0), None
    if first is None:
        return None
    opening, middle, closing = one[: first[0]], one[first[1] : first[2]], one[first[3] :]
    again = _call_in(two, _NAMES[0], 0)
    other = _call_in(two, _NAMES[1], again[3]) if again is not None else None
    if again is not None and other is not None and two[: again[0]] == opening:
        single = two[again[3] : other[0]]
    pieces = [_parts(text, special) for text in (opening.lstrip(), middle, closing.rstrip())]
    between = None if single is None else _parts(single, special)
    return ToolSyntax(opening=pieces[0], middle=pieces[1], between=between, closing=pieces[2])


def _turn(count: int) -> Message:
    calls = tuple(
        ToolCall(id=identity, function=FunctionCall(name=name, arguments=json.dumps(_ARGUMENTS)))
        for identity, name in zip(_IDS[:count], _NAMES, strict=False)
    )
    return Message(role="assistant", tool_calls=calls)


def _call_in(text: str, name: str, start: int) -> tuple[int, int, int, int] | None:
    """Where `name` begins and ends and where the arguments after it begin and end."""
    at = text.find(name, start)
    after = at + len(name)
    opened = re.compile(r'\{\s*"tunesmith"').search(text, after) if at >= 0 else None
    if opened is None:
        return None
    value, end = json.JSONDecoder().raw_decode(text, opened.start())
    return (at, after, opened.start(), end) if value == _ARGUMENTS else None


def _parts(text: str, special: Mapping[str, int]) -> tuple[Part, ...]:
    """`text` cut at special tokens and at the ids of calls."""
    if not text:
        return ()
    marks = sorted((*special, *_IDS), key=len, reverse=True)
    found = [piece for piece in re.split(f"({'|'.join(map(re.escape, marks))})", text) if piece]
    return tuple(
        Part(call_id=True) if piece in _IDS else Part(token=special[piece]) if piece in special else Part(text=piece)
        for piece in found
    )
