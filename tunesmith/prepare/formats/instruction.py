"""Instruction data as Alpaca and Self-Instruct have it: `instruction`, optional `input`, `output`.

The user message is the instruction, then an empty line and the input when there is one. Self-Instruct's
`instances: [{"input": ..., "output": ...}]` is read when it holds exactly one instance. `history: [[question, answer],
...]` holds earlier turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import exchange, kind_of, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message

__all__ = ["Instruction"]


class Instruction(Value):
    """Instruction and input become the user message, output the assistant message."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return ("instruction", "output")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for texts under both keys (or one list of instances), 0.5 when only the keys are there; 0 with tools."""
        if "instruction" not in row or not ("output" in row or "instances" in row) or "tools" in row:
            return 0.0
        answer_fits = isinstance(row["output"], str) if "output" in row else isinstance(row["instances"], list)
        return 1.0 if answer_fits and isinstance(row["instruction"], str) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError with a problem for each field that is missing, empty or no text."""
        problems: list[Problem] = []
        instruction = required_text(row, "instruction", problems)
        system = optional_text(row, "system", problems)
        earlier = _history(row.get("history"), problems)
        nested = "instances" in row and "output" not in row
        body = _only_instance(row["instances"], problems) if nested else row
        context = optional_text(body, "input", problems)
        answer = required_text(body, "output", problems)
        raise_problems(problems)
        prompt = f"{instruction}\n\n{context}" if context.strip() else instruction
        used = (
            ("instruction", "instances", "system", "history")
            if nested
            else ("instruction", "input", "output", "system", "history")
        )
        whole = exchange(prompt, answer, system, metadata(row, used))
        opening = len(whole.messages) - 2
        messages = (*whole.messages[:opening], *earlier, *whole.messages[opening:])
        return whole.model_copy(update={"messages": messages})


def _history(found: object, problems: list[Problem]) -> list[Message]:
    """The messages of `[[question, answer], ...]`."""
    messages = []
    if found is not None and not isinstance(found, list):
        fix = "write [[question, answer], ...]"
        problems.append(Problem(f"must be a list of turns, is {kind_of(found)}", field="history", fix=fix))
    for index, turn in enumerate(found if isinstance(found, list) else ()):
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(each, str) and each for each in turn):
            fix = "write [question, answer], each a text"
            problems.append(Problem("is not a question with its answer", field=f"history[{index}]", fix=fix))
            continue
        messages += [Message(role="user", content=turn[0]), Message(role="assistant", content=turn[1])]
    return messages


def _only_instance(instances: object, problems: list[Problem]) -> Mapping[str, Any]:
    """The one instance of a Self-Instruct task; anything else is refused at once."""
    if isinstance(instances, list) and len(instances) == 1 and isinstance(instances[0], dict):
        return instances[0]
    found = f"{len(instances)} of them" if isinstance(instances, list) else kind_of(instances)
    problems.append(
        Problem(f"must hold exactly one instance, is {found}", field="instances", fix="write one row for each instance")
    )
    raise_problems(problems)
    raise AssertionError("unreachable: a problem was just added")
