"""Reads tools and tool calls of a chat row as OpenAI writes them."""

from __future__ import annotations

import json
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import kind_of
from tunesmith.types.conversation import FunctionCall, ToolCall

__all__ = ["read_tool_calls", "read_tools"]


def read_tools(found: object, problems: list[Problem]) -> tuple[dict[str, Any], ...]:
    """The tools offered to the model, as they stand; a problem for each that is not a named function."""
    if found is None:
        return ()
    if not isinstance(found, list):
        fix = 'write [{"type": "function", "function": {...}}]'
        problems.append(Problem(f"must be a list, is {kind_of(found)}", field="tools", fix=fix))
        return ()
    for index, tool in enumerate(found):
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            fix = 'write {"type": "function", "function": {"name": ..., "parameters": {...}}}'
            problems.append(Problem("is not a function with a name", field=f"tools[{index}]", fix=fix))
    return tuple(tool for tool in found if isinstance(tool, dict))


def read_tool_calls(found: object, field: str, problems: list[Problem]) -> tuple[ToolCall, ...]:
    """The tool calls of one message; arguments given as an object are written as JSON text."""
    if found is None:
        return ()
    if not isinstance(found, list):
        problems.append(Problem(f"must be a list, is {kind_of(found)}", field=field, fix="write a list of calls"))
        return ()
    calls = (_call(each, f"{field}[{index}]", problems) for index, each in enumerate(found))
    return tuple(call for call in calls if call is not None)


def _call(found: object, field: str, problems: list[Problem]) -> ToolCall | None:
    function = found.get("function") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(function, dict) or found.get("type", "function") != "function":
        fix = 'write {"id": "call_1", "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
        problems.append(Problem("is not a function call", field=field, fix=fix))
        return None
    name, identity = function.get("name"), found.get("id")
    if not isinstance(name, str) or not name:
        problems.append(Problem("is missing or no text", field=f"{field}.function.name", fix="name the tool"))
    if not isinstance(identity, str) or not identity:
        problems.append(Problem("is missing or no text", field=f"{field}.id", fix='add an id, for example "call_1"'))
    arguments = _arguments(function.get("arguments"), f"{field}.function.arguments", problems)
    if arguments is None or not isinstance(name, str) or not name or not isinstance(identity, str) or not identity:
        return None
    return ToolCall(id=identity, function=FunctionCall(name=name, arguments=arguments))


def _arguments(found: object, field: str, problems: list[Problem]) -> str | None:
    if isinstance(found, dict):
        return json.dumps(found, ensure_ascii=False)
    try:
        held = json.loads(found) if isinstance(found, str) else None
    except ValueError as error:
        problems.append(Problem(f"is not JSON: {error}", field=field, fix="write the arguments as one JSON object"))
        return None
    if not isinstance(found, str) or not isinstance(held, dict):
        fix = 'write a JSON object as text, for example "{\\"city\\": \\"Pune\\"}"'
        problems.append(Problem("must be the JSON text of an object", field=field, fix=fix))
        return None
    return found
