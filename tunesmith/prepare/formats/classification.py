"""Texts with labels: a text (`text`, `sentence`, `utterance`, `query`) and `label`, `category`, `intent` or `class`.

A label is a text or a whole number; a list of labels (`labels`, `intents`) is answered as a JSON list. Detected when a
row says nothing else but where it is from; any other columns are named in the recipe under `columns:`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import ABOUT, exchange, kind_of, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Classification"]

_TEXTS = ("text", "sentence", "utterance", "query")
_LABELS = ("label", "category", "intent", "class", "labels", "intents")


class Classification(Value):
    """A text and the label to answer it with."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys rows usually have."""
        return ("text", "label")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for one text and one label of the names known, 0 otherwise."""
        texts, labels = _present(row, _TEXTS), _present(row, _LABELS)
        alone = all(key in ABOUT for key in row if key not in (*texts, *labels))
        if len(texts) != 1 or len(labels) != 1 or not alone or not isinstance(row[texts[0]], str):
            return 0.0
        return 1.0 if _is_label(row[labels[0]]) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: every problem with its field."""
        problems: list[Problem] = []
        texts, labels = _present(row, _TEXTS), _present(row, _LABELS)
        for found, names in ((texts, _TEXTS), (labels, _LABELS)):
            if len(found) != 1:
                there = f"the row has {' and '.join(found)}" if found else "is missing"
                fix = f"keep one of {', '.join(found or names)}, or name the columns: {{prompt: ..., completion: ...}}"
                problems.append(Problem(there, field=names[0], fix=fix))
        raise_problems(problems)
        text = required_text(row, texts[0], problems)
        answer = _label(row, labels[0], problems)
        system = optional_text(row, "system", problems)
        raise_problems(problems)
        return exchange(text, answer, system, metadata(row, (texts[0], labels[0], "system")))


def _present(row: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in row]


def _is_label(found: object) -> bool:
    if isinstance(found, list):
        return bool(found) and all(isinstance(each, str) for each in found)
    return isinstance(found, str | int) and not isinstance(found, bool)


def _label(row: Mapping[str, Any], key: str, problems: list[Problem]) -> str:
    found = row[key]
    if isinstance(found, str):
        return required_text(row, key, problems)
    if _is_label(found):
        return json.dumps(found, ensure_ascii=False)
    is_what = "an empty list" if found == [] else kind_of(found)
    problems.append(Problem(f"must be a label, is {is_what}", field=key, fix="write a text, or a list of texts"))
    return ""
