"""The chunks of a streamed answer: a part of one choice in each, and around it always the same JSON, made once."""

from __future__ import annotations

import json
from typing import Any

from tunesmith.serve.answering.events import data
from tunesmith.types.base import Value

__all__ = ["ChunkFrame", "as_json"]


class ChunkFrame:
    """What stands around the choice in each chunk of one answer, from a chunk without `choices`."""

    def __init__(self, bare: Value) -> None:
        self._bare: dict[str, Any] = bare.model_dump(mode="json")
        # A quotation mark inside one of the chunk's texts is escaped, so this is found where the list stands.
        before, mark, self._after = as_json(self._bare).partition('"choices": [')
        self._before = f"{before}{mark}"

    def event(self, choice: str) -> str:
        """The event of a chunk with this choice, which is given as JSON."""
        return data(f"{self._before}{choice}{self._after}")

    def end(self, usage: Value) -> str:
        """The event with the usage, which has no choice."""
        return data(as_json(self._bare | {"usage": usage.model_dump(mode="json")}))


def as_json(content: object) -> str:
    """As these events are written: characters as they are, a space behind colons and commas."""
    return json.dumps(content, ensure_ascii=False)
