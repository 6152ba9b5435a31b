"""Reads prompts and answers that may be texts or lists of messages, and finds what two transcripts share.

A text transcript is HH's form: `\\n\\nHuman: ...\\n\\nAssistant: ...`, turn after turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.errors import Problem
from tunesmith.prepare.chat_messages import read_messages
from tunesmith.prepare.chat_order import order_problems
from tunesmith.prepare.format import kind_of
from tunesmith.types.conversation import Message

__all__ = ["Placed", "read_answer", "read_prompt", "shared_prompt", "turns_problems"]

_TURN = re.compile(r"\n\n(Human|Assistant):")


class Placed(NamedTuple):
    """Messages and the field they stand in; `whole` when they begin with the conversation, not with the answer."""

    messages: tuple[Message, ...]
    field: str
    whole: bool = False


def read_prompt(row: Mapping[str, Any], key: str, problems: list[Problem]) -> Placed:
    """The messages under `key`: a text is one user message (or an HH transcript), a list is read as messages."""
    found = row.get(key)
    if isinstance(found, list):
        return Placed(tuple(read_messages(found, key, problems)), key)
    text = _text(found, key, problems)
    turns = _transcript(text)
    if turns and not turns[-1].content:  # HH's prompts end with the header of the answer to come
        turns = turns[:-1]
    if turns:
        return Placed(tuple(turns), key)
    return Placed((Message(role="user", content=text),) if text else (), key)


def read_answer(row: Mapping[str, Any], key: str, problems: list[Problem]) -> Placed:
    """The answer under `key`: a text, assistant messages, or a whole transcript that repeats the prompt."""
    found = row.get(key)
    if isinstance(found, dict):
        found = [found]
    if isinstance(found, list):
        messages = tuple(read_messages(found, key, problems))
        return Placed(messages, key, whole=bool(messages) and messages[0].role != "assistant")
    text = _text(found, key, problems)
    turns = _transcript(text)
    if turns and not turns[-1].content:
        problems.append(Problem("ends before the answer", field=key, fix="write the answer, or remove the row"))
        return Placed((), key)
    if turns:
        return Placed(tuple(turns), key, whole=True)
    return Placed((Message(role="assistant", content=text),) if text else (), key)


def shared_prompt(first: Placed, second: Placed, problems: list[Problem]) -> Placed:
    """What two whole transcripts open with, up to the first assistant message in which they differ."""
    shared = 0
    for left, right in zip(first.messages, second.messages, strict=False):
        if left != right:
            break
        shared += 1
    rest = (first.messages[shared:], second.messages[shared:])
    if all(rest) and all(part[0].role == "assistant" for part in rest):
        return Placed(first.messages[:shared], first.field, whole=True)
    message = (
        f"and {second.field} are the same"
        if not any(rest)
        else f"and {second.field} part before an assistant's answer (message {shared})"
    )
    fix = "two answers to the same prompt are compared: make them share every message before the answer"
    problems.append(Problem(message, field=first.field, fix=fix))
    return Placed((), first.field)


def turns_problems(prompt: Placed, answer: Placed, tools: Sequence[dict[str, Any]]) -> list[Problem]:
    """What is wrong with the order of a prompt's messages followed by the answer's, each named by its own field."""
    before = len(prompt.messages)

    def placed(problem: Problem) -> Problem:
        found = re.match(r"messages\[(\d+)\](.*)", problem.field or "")
        if found is None:
            return Problem(problem.message, field=answer.field, fix=problem.fix)
        index, rest = int(found[1]), found[2]
        inside = index < before
        place = prompt if inside else answer
        offset = before if not inside and not answer.whole else 0
        return Problem(problem.message, field=f"{place.field}[{index - offset}]{rest}", fix=problem.fix)

    return [placed(problem) for problem in order_problems([*prompt.messages, *answer.messages], tools)]


def _text(found: object, key: str, problems: list[Problem]) -> str:
    if not isinstance(found, str):
        is_what = "missing" if found is None else kind_of(found)
        problems.append(
            Problem(f"must be a text or a list of messages, is {is_what}", field=key, fix="write a text in quotes")
        )
        return ""
    if not found.strip():
        problems.append(Problem("is empty", field=key, fix="write a text, or remove the row"))
        return ""
    return found


def _transcript(text: str) -> list[Message]:
    """The turns of an HH transcript; none when `text` is not one. A last empty assistant turn is kept as such."""
    begins = text.lstrip()
    if not begins.startswith("Human:") or "\n\nAssistant:" not in begins:
        return []
    pieces = _TURN.split(f"\n\n{begins}")[1:]
    return [
        Message(role="user" if speaker == "Human" else "assistant", content=said.strip())
        for speaker, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
