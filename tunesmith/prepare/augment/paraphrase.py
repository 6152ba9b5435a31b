"""Says the same in other words."""

from __future__ import annotations

from tunesmith.prepare.augmentation import Drawing, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["Paraphrase"]

_INSTRUCTION = (
    "Rewrite the text that the user gives in other words. Keep its meaning, language, names and numbers. "
    "Reply with the new text alone."
)


class Paraphrase(Way):
    """The input (or the answer) in other words."""

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with one text rewritten."""
        return changed_text(row, self.side, await drawing.rewrite(_INSTRUCTION, text_of(row, self.side)))
