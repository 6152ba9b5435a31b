"""Any file whose prompt and completion columns the recipe names under `columns:`.

A column may lie deeper, `userInput.text`. A completion that is a list or an object is answered as JSON text; several
columns, `completion: [intents, slots]`, as one JSON object, null where a row lacks one. A prompt may be made of several
columns: `prompt: "{question}\\nA: {choice0}\\nB: {choice1}"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.format import exchange, kind_of, metadata, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Columns"]

_PLACEHOLDER = re.compile(r"{([^{}\n]+)}")


class Columns(Value):
    """Named columns become a user and an assistant message, and optionally a system message."""

    prompt: str = "prompt"
    completion: str | tuple[str, ...] = "completion"
    system: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns every row has."""
        single = (self.completion,) if isinstance(self.completion, str) else ()
        return (*self._asked, *single, *((self.system,) if self.system else ()))

    @property
    def _asked(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.prompt))) or (self.prompt,)

    def score(self, row: Mapping[str, Any]) -> float:
        """0: this format is never guessed, the recipe's `columns:` asks for it."""
        return 0.0

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: a problem for each column missing, empty or no text."""
        problems: list[Problem] = []
        several = self.completion if isinstance(self.completion, tuple) else ()
        found = {name: _found(row, name) for name in (*self.keys, *several)}
        for key in self.keys:
            if found[key] is _ABSENT:
                problems.append(_no_column(key, row))
        misspelt = (name for name in several if found[name] is _ABSENT and nearest(name, set(row) - set(several)))
        problems += [_no_column(name, row) for name in misspelt]
        raise_problems(problems)
        asked = {name: required_text(found, name, problems) for name in self._asked}
        whole = asked.get(self.prompt)
        prompt = _PLACEHOLDER.sub(lambda match: asked[match[1]], self.prompt) if whole is None else whole
        answer = self._answer(found, problems)
        system = _optional(found, self.system, problems) if self.system else ""
        raise_problems(problems)
        return exchange(prompt, answer, system, metadata(row, tuple(found)))

    def _answer(self, found: Mapping[str, Any], problems: list[Problem]) -> str:
        if isinstance(self.completion, tuple):
            present = {name: None if found[name] is _ABSENT else found[name] for name in self.completion}
            return json.dumps(present, ensure_ascii=False)
        value = found[self.completion]
        if isinstance(value, list | dict):
            return json.dumps(value, ensure_ascii=False)
        return required_text(found, self.completion, problems)


class _Absent:
    """A column that the row does not have."""


_ABSENT = _Absent()


def _found(row: Mapping[str, Any], name: str) -> Any:
    """The value of the column `name`, which may lie in objects: `userInput.text`."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _optional(found: Mapping[str, Any], name: str, problems: list[Problem]) -> str:
    value = found[name]
    if value is None or isinstance(value, str):
        return value or ""
    problems.append(Problem(f"must be a text, is {kind_of(value)}", field=name, fix="write a text in quotes"))
    return ""


def _no_column(key: str, row: Mapping[str, Any]) -> Problem:
    close = nearest(key, row)
    fix = f"did you mean {close!r}? " if close else ""
    there = ", ".join(map(repr, row)) or "no columns"
    return Problem("is not a column", field=key, fix=f"{fix}write one of {there} under columns")
