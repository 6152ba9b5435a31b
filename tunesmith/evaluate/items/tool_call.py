"""tool_call: a request that one or several tools are to be called for, or none."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import JsonValue, field_validator, model_validator

from tunesmith.errors import nearest
from tunesmith.evaluate.item import ItemType
from tunesmith.types.base import Value
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["ToolCallItem"]


class _Call(Value):
    """A wanted call: `arguments` with their values, `others` that are as right, `optional` ones that may be missing."""

    name: str
    arguments: dict[str, JsonValue] = {}
    others: dict[str, list[JsonValue]] = {}
    optional: tuple[str, ...] = ()

    def expected(self) -> JsonValue:
        """The call with the list of right values of each argument."""
        named: list[JsonValue] = list(self.optional)
        values: dict[str, JsonValue] = {
            name: [value, *self.others.get(name, ())] for name, value in self.arguments.items()
        }
        return {"name": self.name, "arguments": values, "optional": named}


class ToolCallItem(ItemType):
    """The `calls` wanted, in any order; none when no tool fits the request. `tools` are OpenAI's or bare functions."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(name="tool_call_match"),
        MetricSpec(name="tool_schema_success"),
    )

    calls: tuple[_Call, ...]

    @field_validator("tools", mode="before")
    @classmethod
    def _as_openai_writes_them(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        bare = (isinstance(tool, dict) and "function" not in tool for tool in given)
        return [
            {"type": "function", "function": tool} if is_bare else tool
            for tool, is_bare in zip(given, bare, strict=True)
        ]

    @model_validator(mode="after")
    def _calls_what_is_there(self) -> ToolCallItem:
        known = {
            tool["function"]["name"]: tool["function"].get("parameters", {}).get("properties", {})
            for tool in self.tools
            if isinstance(tool.get("function"), dict) and isinstance(tool["function"].get("name"), str)
        }
        if not self.tools or len(known) < len(self.tools):
            raise ValueError("tools: each needs a `function` with a `name` of its own, and there is at least one")
        for call in self.calls:
            _check("calls", call.name, "tool", known)
            for argument in (*call.arguments, *call.others, *call.optional):
                _check(f"calls: {call.name}", argument, "parameter", known[call.name])
        return self

    def item(self) -> Item:
        """The calls and the offered tools as what is expected."""
        calls: list[JsonValue] = [call.expected() for call in self.calls]
        return self.asked(expect={"calls": calls, "tools": list(self.tools)})


def _check(where: str, name: str, kind: str, known: dict[str, Any]) -> None:
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean {close!r}? " if close else ""
        raise ValueError(f"{where}: there is no {kind} {name!r}; {hint}there are: {', '.join(known)}")
