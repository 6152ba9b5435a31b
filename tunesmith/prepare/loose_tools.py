"""Tools and calls as other data writes them: bare functions, JSON inside a text, schema types of Python's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import kind_of
from tunesmith.types.conversation import FunctionCall, ToolCall

__all__ = ["loose_calls", "loose_tools", "unpacked_json"]

_TYPES: Mapping[str, str] = {
    "dict": "object",
    "float": "number",
    "double": "number",
    "int": "integer",
    "long": "integer",
    "bool": "boolean",
    "str": "string",
    "char": "string",
    "list": "array",
    "tuple": "array",
    "hashmap": "object",
    "arraylist": "array",
}
_ANY = ("any",)
_ARGUMENTS = ("arguments", "parameters", "args")


def unpacked_json(found: object) -> object:
    """The value of a text that holds a JSON object or array; anything else as it is."""
    if isinstance(found, str) and found.lstrip().startswith(("{", "[")):
        try:
            return json.loads(found)
        except (ValueError, RecursionError):
            return found
    return found


def loose_tools(found: object, field: str, problems: list[Problem]) -> tuple[dict[str, Any], ...]:
    """Tools in OpenAI's shape, from a list (also as JSON text) of such tools or of bare functions."""
    given = unpacked_json(found)
    if given is None or given == "":
        return ()
    if isinstance(given, dict):
        given = [given]
    if isinstance(given, list):
        given = [_wrapped(each) for each in given]
    inside: list[Problem] = []
    tools = read_tools(given, inside)
    problems += [replace(each, field=str(each.field).replace("tools", field, 1)) for each in inside]
    return tools


def _wrapped(tool: object) -> object:
    if not isinstance(tool, dict):
        return tool
    function = tool.get("function") if tool.get("type") == "function" else tool
    return {"type": "function", "function": _standard(function)} if isinstance(function, dict) else tool


def _standard(schema: Any) -> Any:
    """The schema with the types of JSON Schema: `dict` is `object`, `float` is `number`, `any` is left out."""
    if isinstance(schema, list):
        return [_standard(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _standard(value) for key, value in schema.items()}
    kind = schema.get("type")
    if isinstance(kind, str) and kind.lower() in _ANY:
        del changed["type"]
    elif isinstance(kind, str):
        changed["type"] = _TYPES.get(kind.lower(), kind)
    return changed


def loose_calls(found: object, field: str, first: int, problems: list[Problem]) -> tuple[ToolCall, ...]:
    """Tool calls `{"name": ..., "arguments": {...}}`, one or a list, also as JSON text; ids from `call_{first}` on."""
    given = unpacked_json(found)
    listed = given if isinstance(given, list) else [given]
    places = [f"{field}[{index}]" for index in range(len(listed))] if given is listed else [field]
    calls = [_call(each, place, problems) for each, place in zip(listed, places, strict=True)]
    if not listed:
        problems.append(Problem("holds no call", field=field, fix='write {"name": ..., "arguments": {...}}'))
    named = [call for call in calls if call is not None]
    return tuple(ToolCall(id=f"call_{first + index}", function=call) for index, call in enumerate(named))


def _call(found: object, field: str, problems: list[Problem]) -> FunctionCall | None:
    function = found.get("function") if isinstance(found, dict) and isinstance(found.get("function"), dict) else found
    fix = 'write {"name": ..., "arguments": {...}}'
    if not isinstance(function, dict):
        problems.append(Problem(f"must be a call, is {kind_of(function)}", field=field, fix=fix))
        return None
    name = function.get("name")
    if not isinstance(name, str) or not name:
        problems.append(Problem("is missing or no text", field=f"{field}.name", fix="name the tool"))
        return None
    arguments = unpacked_json(next((function[key] for key in _ARGUMENTS if key in function), {}))
    if not isinstance(arguments, dict):
        message = f"must be an object, is {kind_of(arguments)}"
        problems.append(Problem(message, field=f"{field}.arguments", fix=fix))
        return None
    return FunctionCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False))
