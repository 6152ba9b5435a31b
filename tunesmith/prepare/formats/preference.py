"""Preferences: two answers to one prompt, the better one named.

Read as meant: OpenAI's `{"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}`;
`prompt`, `chosen` and `rejected`, each a text or messages; `chosen` and `rejected` as whole transcripts (messages, or
HH's `Human: ... Assistant: ...` text), whose shared beginning is the prompt. `margin` is by how much chosen is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.chat_tools import read_tools
from tunesmith.prepare.format import kind_of, metadata, optional_text, raise_problems
from tunesmith.prepare.pairs import Placed, read_answer, read_prompt, shared_prompt, turns_problems
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.preference import Preference as Pair

__all__ = ["Preference"]

_OPENAI = ("input", "preferred_output", "non_preferred_output")
_USED = ("prompt", "chosen", "rejected", "margin", "system", "tools", *_OPENAI)


class Preference(Value):
    """A prompt with a chosen and a rejected answer."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has (or OpenAI's `preferred_output` and `non_preferred_output` in their place)."""
        return ("chosen", "rejected")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 when both answers are texts or messages, 0.5 when only the keys are there."""
        for first, second in (self.keys, _OPENAI[1:]):
            if first in row and second in row:
                fits = all(isinstance(row[key], str | list | dict) for key in (first, second))
                return 1.0 if fits else 0.5
        return 0.0

    def parse(self, row: Mapping[str, Any]) -> Pair:
        """The pair of one row. Raises DataError: every problem with its field, such as `chosen[1].role`."""
        problems: list[Problem] = []
        openai = "preferred_output" in row and "chosen" not in row
        keys = _OPENAI[1:] if openai else self.keys
        given = _openai_input(row, problems) if openai else row
        tools = read_tools(given.get("tools"), problems)
        chosen, rejected = (read_answer(row, key, problems) for key in keys)
        margin = _margin(row.get("margin"), problems)
        system = optional_text(row, "system", problems)
        raise_problems(problems)
        prompt = _prompt(given, "messages" if openai else "prompt", (chosen, rejected), problems)
        raise_problems(problems)
        if openai:
            prompt = prompt._replace(field="input.messages")
        chosen, rejected = (_without_prompt(prompt, answer, problems) for answer in (chosen, rejected))
        raise_problems(problems)
        raise_problems([problem for answer in (chosen, rejected) for problem in turns_problems(prompt, answer, tools)])
        if chosen.messages == rejected.messages:
            fix = "give two different answers, or remove the row"
            raise_problems([Problem(f"and {rejected.field} are the same", field=chosen.field, fix=fix)])
        opening = (Message(role="system", content=system),) if system else ()
        return Pair(
            prompt=(*opening, *prompt.messages),
            chosen=chosen.messages,
            rejected=rejected.messages,
            margin=margin,
            tools=tools,
            metadata=metadata(row, _USED),
        )


def _openai_input(row: Mapping[str, Any], problems: list[Problem]) -> Mapping[str, Any]:
    given = row.get("input")
    if isinstance(given, dict) and isinstance(given.get("messages"), list):
        return given
    is_what = "missing" if given is None else kind_of(given)
    problems.append(
        Problem(f"must hold messages, is {is_what}", field="input", fix='write {"messages": [{"role": ..., ...}]}')
    )
    return {"messages": []}


def _prompt(given: Mapping[str, Any], key: str, answers: tuple[Placed, Placed], problems: list[Problem]) -> Placed:
    """The prompt that is given, or what both transcripts open with."""
    if given.get(key) is not None:
        return read_prompt(given, key, problems)
    if all(answer.whole for answer in answers):
        return shared_prompt(*answers, problems)
    problems.append(Problem("is missing", field=key, fix="add it, or give chosen and rejected as whole transcripts"))
    return Placed((), key)


def _without_prompt(prompt: Placed, answer: Placed, problems: list[Problem]) -> Placed:
    """The answer alone; a whole transcript must begin with the prompt (its system message may be left out)."""
    if not answer.whole:
        return answer
    openings = [prompt.messages, tuple(each for each in prompt.messages if each.role not in ("system", "developer"))]
    for opening in openings:
        if answer.messages[: len(opening)] == opening:
            return answer._replace(messages=answer.messages[len(opening) :])
    fix = f"begin it with the messages of {prompt.field}, or give the answer alone"
    problems.append(Problem(f"does not begin with {prompt.field}", field=answer.field, fix=fix))
    return answer


def _margin(found: object, problems: list[Problem]) -> float:
    if found is None:
        return 0.0
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
        return float(found)
    problems.append(
        Problem(f"must be a number, is {kind_of(found)}", field="margin", fix="write a number, or leave it")
    )
    return 0.0
