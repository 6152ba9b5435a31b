"""Says the same with some words replaced by synonyms."""

from __future__ import annotations

from tunesmith.prepare.augmentation import Drawing, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["Synonyms"]

_INSTRUCTION = (
    "Replace a few words of the text that the user gives by synonyms and change nothing else. "
    "Reply with the new text alone."
)


class Synonyms(Way):
    """The input (or the answer) with a few words replaced by synonyms."""

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with one text rewritten."""
        return changed_text(row, self.side, await drawing.rewrite(_INSTRUCTION, text_of(row, self.side)))
