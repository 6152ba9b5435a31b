"""Few-shot: the training rows nearest to each question stand before it as turns that were answered already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunesmith.decide.nearest import Embedder, Index, question_of
from tunesmith.decide.prompts import with_prompt
from tunesmith.types.conversation import Message
from tunesmith.types.dataset import Example

__all__ = ["FewShot"]


class FewShot:
    """Puts training rows in front of a question (Liu et al. 2022, "What makes good in-context examples for GPT-3?")."""

    def __init__(self, embedder: Embedder, train: Sequence[Example]) -> None:
        self._rows = [row for row in train if row.wanted and not row.conversation.is_text]
        self._index = Index(embedder, [question_of(row) for row in self._rows])

    def row(self, example: Example, shots: int, prompt: str | None, fits: Callable[[Example], bool]) -> Example:
        """`example` with up to `shots` answered rows before it, the nearest last: fewer where more do not fit."""
        places = self._index.nearest(question_of(example), shots)
        while True:
            turns = [turn for place in reversed(places) for turn in _turns(self._rows[place])]
            asked = with_prompt(example, prompt, turns)
            if not places or fits(asked):
                return asked
            places = places[:-1]


def _turns(row: Example) -> tuple[Message, ...]:
    asked = tuple(message for message in row.conversation.prompt if message.role not in ("system", "developer"))
    return (*asked, Message(role="assistant", content=row.conversation.reference))
