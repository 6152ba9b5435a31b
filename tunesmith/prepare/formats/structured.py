"""Answers with citations: `input {system, context [{id, text}], user}` -> `output {status, answer, citations}`.

The user message is each document as `[id] text`, an empty line and the question; the answer is the output as JSON text.
A citation must be the id of a document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.format import exchange, kind_of, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Structured"]

_INPUT = ("system", "context", "user")


class Structured(Value):
    """A question about documents, answered by a JSON object."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("input", "output")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for an input with a user and an output that is an object, 0 otherwise."""
        given, output = row.get("input"), row.get("output")
        return 1.0 if isinstance(given, dict) and "user" in given and isinstance(output, dict) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: every problem with its field, such as `input.context[1].id`."""
        problems: list[Problem] = []
        given, output = (_object(row, key, problems) for key in self.keys)
        raise_problems(problems)
        for key in given:
            if key not in _INPUT:
                close = nearest(key, _INPUT)
                fix = f"did you mean {close!r}?" if close else f"remove it; known: {', '.join(_INPUT)}"
                problems.append(Problem("is not a known key", field=f"input.{key}", fix=fix))
        inside: list[Problem] = []
        user = required_text(given, "user", inside)
        system = optional_text(given, "system", inside)
        problems += [Problem(each.message, field=f"input.{each.field}", fix=each.fix) for each in inside]
        documents = _documents(given.get("context"), problems)
        _check_output(output, documents, problems)
        raise_problems(problems)
        shown = [f"[{identity}] {text}" for identity, text in documents.items()]
        prompt = "\n\n".join(["\n".join(shown), user]) if shown else user
        return exchange(prompt, json.dumps(output, ensure_ascii=False), system, metadata(row, self.keys))


def _object(row: Mapping[str, Any], key: str, problems: list[Problem]) -> Mapping[str, Any]:
    found = row.get(key)
    if isinstance(found, dict) and found:
        return found
    is_what = "missing" if key not in row else "an empty object" if found == {} else kind_of(found)
    fix = 'write {"user": ...}' if key == "input" else 'write {"status": ..., "answer": ..., "citations": [...]}'
    problems.append(Problem(f"must be an object, is {is_what}", field=key, fix=fix))
    return {}


def _documents(found: object, problems: list[Problem]) -> dict[str, str]:
    """The text of each document by its id."""
    if found is None:
        return {}
    if not isinstance(found, list):
        fix = 'write [{"id": ..., "text": ...}]'
        problems.append(Problem(f"must be a list, is {kind_of(found)}", field="input.context", fix=fix))
        return {}
    documents: dict[str, str] = {}
    for index, each in enumerate(found):
        field = f"input.context[{index}]"
        identity = each.get("id") if isinstance(each, dict) else None
        text = each.get("text") if isinstance(each, dict) else None
        if not isinstance(identity, str | int) or isinstance(identity, bool) or not isinstance(text, str):
            fix = 'write {"id": "d1", "text": "..."}'
            problems.append(Problem("must have an id and a text", field=field, fix=fix))
        elif str(identity) in documents:
            fix = "give each document its own id"
            problems.append(Problem(f"the id {identity!r} stands twice", field=f"{field}.id", fix=fix))
        else:
            documents[str(identity)] = text
    return documents


def _check_output(output: Mapping[str, Any], documents: Mapping[str, str], problems: list[Problem]) -> None:
    for key in ("status", "answer"):
        if key in output and output[key] is not None and not isinstance(output[key], str):
            message = f"must be a text, is {kind_of(output[key])}"
            problems.append(Problem(message, field=f"output.{key}", fix="write a text in quotes"))
    cited = output.get("citations") or []
    if not isinstance(cited, list):
        fix = "write a list of document ids"
        problems.append(Problem(f"must be a list, is {kind_of(cited)}", field="output.citations", fix=fix))
        return
    for index, identity in enumerate(cited):
        if not isinstance(identity, str | int) or str(identity) not in documents:
            close = nearest(str(identity), documents)
            known = f"the context has {', '.join(documents) or 'no documents'}"
            fix = f"did you mean {close!r}? {known}" if close else known
            message = f"cites {identity!r}, which is no document of the row"
            problems.append(Problem(message, field=f"output.citations[{index}]", fix=fix))
