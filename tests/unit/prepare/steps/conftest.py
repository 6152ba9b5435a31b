"""Rows in a line or two, and the rows a table step judges, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.prepare.step import Judgement, Outcome, TableStep
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Row

HERE = Path(__file__).parent


def chat(user: str, answer: str, system: str = "") -> Conversation:
    """One exchange."""
    opening = (Message(role="system", content=system),) if system else ()
    return Conversation(
        messages=(*opening, Message(role="user", content=user), Message(role="assistant", content=answer))
    )


class Rows:
    """The rows a table step judges; counts how many were read back."""

    def __init__(self, rows: Sequence[Row], splits: Sequence[str] | None = None) -> None:
        self.rows = rows
        self.splits = splits or ["auto"] * len(rows)
        self.read = 0

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, index: int) -> str:
        return f"a.csv:{index + 1}"

    def content(self, index: int) -> Row:
        self.read += 1
        return self.rows[index]


@pytest.fixture
def row() -> Callable[..., Conversation]:
    return chat


@pytest.fixture
def outcome() -> Callable[[Any, Row], Outcome]:
    """What a row step makes of one row."""
    return lambda step, row: step.open(HERE)(row)


@pytest.fixture
def judged() -> Callable[..., Judgement]:
    """What a table step makes of rows."""

    def judge(step: TableStep, rows: Sequence[Row], splits: Sequence[str] | None = None) -> Judgement:
        measure = step.open(HERE)
        measures = np.array([np.frombuffer(measure(row), dtype=np.uint8) for row in rows])
        return step.judge(measures, Rows(rows, splits))

    return judge
