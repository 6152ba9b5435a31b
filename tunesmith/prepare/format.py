"""The contract of a dataset format: recognises its rows by their keys, and reads each into what it says.

A format is a plugin in `tunesmith.prepare.formats`: a frozen Value with `keys`, `score` and `parse`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tunesmith.errors import DataError, Problem
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Row

__all__ = ["ABOUT", "Format", "exchange", "kind_of", "metadata", "optional_text", "raise_problems", "required_text"]

ABOUT = frozenset(
    {"id", "idx", "index", "meta", "metadata", "url", "source", "title", "author", "date", "timestamp", "created"}
    | {"language", "lang", "domain", "license", "licence", "part", "split", "subset", "annotator"}
)
"""Fields that say where a row is from; besides them a row of few fields still means what those few say."""


@runtime_checkable
class Format(Protocol):
    """A dataset format."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row of this format has."""

    def score(self, row: Mapping[str, Any]) -> float:
        """How surely `row` is of this format: 1 its keys and their kinds fit, 0.5 only the keys, 0 not at all."""

    def parse(self, row: Mapping[str, Any]) -> Row:
        """What one row says: a conversation, a preference, a judged answer or a prompt.

        Raises:
            DataError: all problems of the row, each with its field; file and line are added by the caller.
        """


def kind_of(value: object) -> str:
    """The kind of a JSON value in plain words, with short values shown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"true or false ({json.dumps(value)})"
    if isinstance(value, int | float):
        return f"a number ({value})"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, Sequence) else "an object"


def required_text(row: Mapping[str, Any], key: str, problems: list[Problem]) -> str:
    """The non-empty text under `key`; else '' and a problem is added."""
    if key not in row:
        close = f"; the row has {', '.join(map(repr, row))}" if row else ""
        problems.append(Problem(f"is missing{close}", field=key, fix=f"add {key!r}"))
        return ""
    value = row[key]
    if not isinstance(value, str):
        fix = f'write it in quotes: "{value}"' if isinstance(value, int | float) else "write a text"
        problems.append(Problem(f"must be a text, is {kind_of(value)}", field=key, fix=fix))
        return ""
    if not value.strip():
        problems.append(Problem("is empty", field=key, fix="write a text, or remove the row"))
    return value


def optional_text(row: Mapping[str, Any], key: str, problems: list[Problem]) -> str:
    """The text under `key`; '' when it is absent, null or empty; a problem is added when it is no text."""
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.append(Problem(f"must be a text, is {kind_of(value)}", field=key, fix="write a text in quotes"))
        return ""
    return value


def exchange(prompt: str, answer: str, system: str, others: Mapping[str, str]) -> Conversation:
    """One question and its answer, after an optional system message."""
    opening = (Message(role="system", content=system),) if system else ()
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Conversation(messages=opening + turns, metadata=dict(others))


def metadata(row: Mapping[str, Any], used: Sequence[str]) -> dict[str, str]:
    """All fields but the `used` ones, as text: kept with the example, never rendered. Null fields say nothing."""
    rest = {key: value for key, value in row.items() if key not in used and value is not None}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in rest.items()
    }


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raise DataError when there are any."""
    if problems:
        raise DataError(problems, message="The row is not acceptable.")
