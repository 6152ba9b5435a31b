"""Whether a tool call is the one that is wanted: by name, required arguments, types and values.

The rules are those of the AST check of the Berkeley Function Calling Leaderboard (Patil et al. 2025, BFCL v4), with one
difference: an integer is a number inside lists and objects too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from tunesmith.evaluate.json_answers import read_json

__all__ = ["Called", "Stage", "all_match", "called", "fault", "parameters_of"]

Stage = Literal["name", "required", "types", "values"]
_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
)


class Called(NamedTuple):
    """One call that an answer made; `arguments` is None when they are no JSON object."""

    name: str
    arguments: dict[str, Any] | None


def called(calls: Sequence[Mapping[str, Any]]) -> list[Called]:
    """The calls of a prediction, `{"name": ..., "arguments": JSON text}`, read."""
    return [Called(str(call.get("name", "")), _arguments(call.get("arguments"))) for call in calls]


def parameters_of(tools: Any) -> dict[str, dict[str, Any]]:
    """JSON Schema of each tool's parameters, by the tool's name, from tools as OpenAI writes them."""
    functions = [tool.get("function", tool) for tool in tools or () if isinstance(tool, dict)]
    return {
        function["name"]: function.get("parameters") or {}
        for function in functions
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    }


def all_match(
    calls: Sequence[Called],
    wanted: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Mapping[str, Any]],
    until: Stage = "values",
    exact: bool = False,
) -> bool:
    """Whether the calls are the wanted ones, in any order, each once: a perfect matching between them."""
    if len(calls) != len(wanted):
        return False
    if not wanted:
        return True
    right = [
        [fault(call, each, parameters.get(str(each["name"]), {}), until, exact) is None for each in wanted]
        for call in calls
    ]
    return bool((maximum_bipartite_matching(csr_array(np.array(right, dtype=np.int8))) >= 0).all())


def fault(
    call: Called, wanted: Mapping[str, Any], parameters: Mapping[str, Any], until: Stage = "values", exact: bool = False
) -> str | None:
    """What is wrong with `call`, the first of name, required, unexpected, types, values, missing; None: nothing is.

    `wanted` has `name`, `arguments` (the right values of each), `optional` (arguments that may be missing) and
    `nested` (inside objects, too, each key has a list of right values, "" among them when it may be missing).
    `parameters` is the JSON Schema of the tool's parameters ({}: types are not looked at). `until` is the last thing
    that is checked. Texts are compared without case, spaces and , . / - _ * ^ unless they must be `exact`.
    """
    if call.name != wanted["name"]:
        return "name"
    if until == "name":
        return None
    if call.arguments is None or any(name not in call.arguments for name in parameters.get("required", ())):
        return "required"
    if until == "required":
        return None
    right: Mapping[str, Any] = wanted.get("arguments") or {}
    known = parameters.get("properties", right)
    if any(name not in known or name not in right for name in call.arguments):
        return "unexpected"
    for name, value in call.arguments.items():
        schema = known[name] if name in parameters.get("properties", ()) else {}
        if not _of_type(value, schema) and not any(type(value) is type(each) for each in right[name] if each != ""):
            return "types"
    if until == "types":
        return None
    compare = _Comparison(exact, bool(wanted.get("nested")))
    for name, value in call.arguments.items():
        if not any(compare.same(value, each) for each in right[name]):
            return "values"
    optional = wanted.get("optional") or ()
    return "missing" if any(name not in call.arguments and name not in optional for name in right) else None


class _Comparison(NamedTuple):
    """How values are compared."""

    exact: bool
    nested: bool

    def same(self, value: Any, wanted: Any) -> bool:
        """Whether `value` is `wanted`: 1 and 1.0 are equal, 1 and true are not; lists in order."""
        if isinstance(value, bool) or isinstance(wanted, bool):
            return value is wanted
        if isinstance(value, str) and isinstance(wanted, str):
            return value == wanted if self.exact else _standard(value) == _standard(wanted)
        if isinstance(value, list) and isinstance(wanted, list):
            return len(value) == len(wanted) and all(map(self.same, value, wanted))
        if isinstance(value, dict) and isinstance(wanted, dict):
            return (self._alternatives if self.nested else self._plain)(value, wanted)
        return bool(value == wanted)

    def _plain(self, value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        return value.keys() == wanted.keys() and all(self.same(value[key], wanted[key]) for key in wanted)

    def _alternatives(self, value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        lists = {key: each if isinstance(each, list) else [each] for key, each in wanted.items()}
        known = all(key in lists and any(self.same(value[key], each) for each in lists[key]) for key in value)
        return known and all(key in value or "" in lists[key] for key in lists)


def _arguments(written: Any) -> dict[str, Any] | None:
    if isinstance(written, str):
        try:
            written = read_json(written or "{}")
        except ValueError:
            return None
    return written if isinstance(written, dict) else None


def _of_type(value: Any, schema: Any) -> bool:
    """Whether `value` has the schema's `type`, and the items of a list theirs."""
    if not isinstance(schema, dict):
        return True
    names = schema.get("type")
    names = [names] if isinstance(names, str) else names or []
    if names and not any(type(value) in _TYPES.get(name, (type(value),)) for name in names):
        return False
    return not isinstance(value, list) or all(_of_type(each, schema.get("items")) for each in value)


def _standard(text: str) -> str:
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')
