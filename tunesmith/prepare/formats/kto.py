"""Judged answers: `{"prompt": ..., "completion": ..., "label": true}`; prompt and completion are texts or messages.

`label` says whether the answer is wanted: true or false (CSV: the words; 1 and 0 are read too).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import kind_of, metadata, optional_text, raise_problems
from tunesmith.prepare.pairs import read_answer, read_prompt, turns_problems
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.preference import Labelled

__all__ = ["Kto"]

_WORDS: Mapping[str, bool] = {"true": True, "false": False, "1": True, "0": False}


class Kto(Value):
    """A prompt with one answer that is wanted or not."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("prompt", "completion", "label")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for a prompt, a completion and a label that is true or false, 0 otherwise."""
        fits = all(isinstance(row.get(key), str | list) for key in ("prompt", "completion"))
        return 1.0 if fits and isinstance(row.get("label"), bool) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Labelled:
        """The judged answer of one row. Raises DataError: every problem with its field."""
        problems: list[Problem] = []
        tools = read_tools(row.get("tools"), problems)
        prompt = read_prompt(row, "prompt", problems)
        answer = read_answer(row, "completion", problems)
        label = _label(row, problems)
        system = optional_text(row, "system", problems)
        if answer.whole:
            fix = "give the assistant's answer alone: the messages before it belong to prompt"
            problems.append(Problem("is a whole conversation", field="completion", fix=fix))
        raise_problems(problems)
        raise_problems(turns_problems(prompt, answer, tools))
        opening = (Message(role="system", content=system),) if system else ()
        return Labelled(
            prompt=(*opening, *prompt.messages),
            completion=answer.messages,
            label=label,
            tools=tools,
            metadata=metadata(row, (*self.keys, "system", "tools")),
        )


def _label(row: Mapping[str, Any], problems: list[Problem]) -> bool:
    found = row.get("label")
    if isinstance(found, bool):
        return found
    word = str(found).strip().lower() if isinstance(found, str | int) else ""
    if word not in _WORDS:
        is_what = "missing" if "label" not in row else repr(found) if isinstance(found, str) else kind_of(found)
        fix = "write true for a wanted answer, false for an unwanted one"
        problems.append(Problem(f"must be true or false, is {is_what}", field="label", fix=fix))
    return _WORDS.get(word, False)
