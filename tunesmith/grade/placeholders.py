"""Templates of graders: `{{item.x.y}}`, `{{item.list[0]}}`, `{{sample.output_text}}`, `{{sample.output_json.k}}`.

Text replaces a placeholder as it is; any other value as JSON. Only the namespaces `item` and `sample` exist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

__all__ = ["Template", "Unresolved", "check", "fill", "value_of"]

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STEP = r"(?:\.[^\s.\[\]{}]+|\[\d+\])"
_PATH = re.compile(rf"(item|sample)({_STEP}+)")
_SAMPLE = ("output_text", "output_json", "output_tools")


class Unresolved(LookupError):
    """A placeholder names something that the row or the answer does not have; `kind` is OpenAI's word for which."""

    def __init__(
        self, message: str, kind: Literal["invalid_variable_error", "sample_parse_error"] = "invalid_variable_error"
    ) -> None:
        super().__init__(message, kind)
        self.message = message
        self.kind = kind

    def __str__(self) -> str:
        return self.message


def check(template: str) -> str:
    """`template` itself. Raises ValueError when a placeholder could never be filled."""
    for written in _PLACEHOLDER.findall(template):
        path = _PATH.fullmatch(written.strip())
        if path is None:
            raise ValueError(
                f"{{{{{written}}}}} is no placeholder; write {{{{item.FIELD}}}} or {{{{sample.output_text}}}}"
            )
        first = _steps(path.group(2))[0]
        if path.group(1) == "sample" and first not in _SAMPLE:
            raise ValueError(f"sample has no {first!r}; it has: {', '.join(_SAMPLE)}")
    return template


Template = Annotated[str, AfterValidator(check)]


def fill(template: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """`template` with every placeholder replaced; what is put in is not searched again.

    Raises Unresolved naming the first placeholder without a value.
    """

    def text_of(match: re.Match[str]) -> str:
        value = value_of(match.group(1).strip(), sample, item)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _PLACEHOLDER.sub(text_of, template)


def value_of(written: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
    """What stands at a path such as `item.x.y`, as it is. Raises Unresolved when nothing does."""
    path = _PATH.fullmatch(written)
    if path is None:
        raise Unresolved(f"{{{{{written}}}}} is no placeholder")
    value: Any = sample if path.group(1) == "sample" else item
    steps = _steps(path.group(2))
    if path.group(1) == "sample" and steps[0] == "output_json" and len(steps) > 1 and sample.get("output_json") is None:
        raise Unresolved(f"{{{{{written}}}}}: the answer is no JSON", "sample_parse_error")
    for step in steps:
        value = _step_into(value, step, written)
    return value


def _steps(path: str) -> list[str | int]:
    found = re.findall(r"\.([^\s.\[\]{}]+)|\[(\d+)\]", path)
    return [name or int(index) for name, index in found]


def _step_into(value: Any, step: str | int, written: str) -> Any:
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, list | tuple) and str(step).isdigit() and int(step) < len(value):
        return value[int(step)]
    there = f"there are: {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else "there is nothing"
    raise Unresolved(f"{{{{{written}}}}}: no {step!r}; {there}")
