"""bfcl: requests with functions, and the calls that are right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

from tunesmith.evaluate.task_files import field, json_rows, refused
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

__all__ = ["Bfcl"]

_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "dict": "object", "hashmap": "object", "float": "number", "double": "number", "tuple": "array", "list": "array",
        "arraylist": "array", "bool": "boolean", "int": "integer", "long": "integer", "str": "string", "char": "string",
        "any": "string",
    }
)  # fmt: skip


class Bfcl(Value):
    """The single-turn Python sets of the Berkeley Function Calling Leaderboard: JSON lines (in files called .json) with
    id, question and function, and a file of the same name with id and ground_truth in the folder `answers` beside it.

    A set without such a file is one where nothing is to be called, and must have "irrelevance" in its name. Types of
    Python are written as JSON Schema has them (dict: object, float: number, ...), and dots in function names become
    underscores, which OpenAI's API asks for. The slice `category` is the file's name without BFCL_v4_.
    """

    answers: str = "possible_answer"

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Tool-call items. Raises DataError, also for a request without an answer."""
        category = re.sub(r"^BFCL_v\d+_", "", path.stem)
        file = path.parent / self.answers / path.name
        if file.is_file():
            right = {str(row.get("id")): row.get("ground_truth") for _, row in json_rows(file)}
        elif "irrelevance" in category:
            right = None
        else:
            raise refused(path, None, f"its answers are not at {file}", "set the reader's option `answers`")
        rows = islice(json_rows(path), limit or None)
        return (_item(row, (path, line), category, right) for line, row in rows)


def _item(row: dict[str, Any], place: tuple[Path, int], category: str, right: Mapping[str, Any] | None) -> Item:
    name = str(field(row, "id", place))
    turns = field(row, "question", place)
    if len(turns) != 1:
        raise refused(*place, f"{name} has {len(turns)} turns; only sets of one turn can be read")
    truth = [] if right is None else right.get(name)
    if truth is None:
        raise refused(*place, f"{name} has no answer in the file of answers")
    tools: list[Any] = [{"type": "function", "function": _function(each)} for each in field(row, "function", place)]
    calls: list[JsonValue] = [_call(function, given) for each in truth for function, given in each.items()]
    messages = tuple(Message(role=each["role"], content=each["content"]) for each in turns[0])
    expect: dict[str, JsonValue] = {"calls": calls, "tools": tools}
    return Item(
        id=name, type="tool_call", messages=messages, tools=tuple(tools), expect=expect, tags={"category": category}
    )


def _function(written: Mapping[str, Any]) -> dict[str, Any]:
    return {**written, "name": _name(written["name"]), "parameters": _schema(written.get("parameters", {}))}


def _call(name: str, arguments: Mapping[str, list[Any]]) -> dict[str, JsonValue]:
    """BFCL marks an argument that may be missing with an empty text among its right values."""
    optional: list[JsonValue] = [argument for argument, values in arguments.items() if "" in values]
    values: dict[str, JsonValue] = {
        argument: [each for each in right if each != ""] or [""] for argument, right in arguments.items()
    }
    return {"name": _name(name), "arguments": values, "optional": optional, "nested": True}


def _schema(written: Any) -> Any:
    """`written` with JSON Schema's types; `optional`, which is no keyword of it, is left out."""
    if isinstance(written, list):
        return [_schema(each) for each in written]
    if not isinstance(written, dict):
        return written
    schema: dict[str, Any] = {}
    for key, value in written.items():
        if key == "properties" and isinstance(value, dict):
            schema[key] = {name: _schema(inner) for name, inner in value.items()}
        elif key == "type" and isinstance(value, str):
            schema[key] = _TYPES.get(value.lower(), value.lower())
        elif key in ("items", "additionalProperties"):
            schema[key] = _schema(value)
        elif key != "optional":
            schema[key] = value
    return schema


def _name(name: str) -> str:
    return name.replace(".", "_")
