"""Says the same as it comes back from another language (Sennrich et al. 2016, arXiv:1511.06709)."""

from __future__ import annotations

from pydantic import Field

from tunesmith.prepare.augmentation import Drawing, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["BackTranslation"]

_INSTRUCTION = "Translate the text that the user gives into {language}. Reply with the translation alone."


class BackTranslation(Way):
    """The input (or the answer) translated into one of `through`, chosen by chance, and back into `language`."""

    through: tuple[str, ...] = Field(default=("German", "French", "Spanish"), min_length=1)
    language: str = "English"

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with one text translated twice."""
        there = drawing.random.choice(self.through)
        foreign = await drawing.rewrite(_INSTRUCTION.format(language=there), text_of(row, self.side))
        back = await drawing.rewrite(_INSTRUCTION.format(language=self.language), foreign)
        return changed_text(row, self.side, back)
