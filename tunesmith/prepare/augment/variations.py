"""Another input that deserves the same answer, or another answer to the same input."""

from __future__ import annotations

from tunesmith.prepare.augmentation import Drawing, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["Variations"]

_INPUT = (
    "Write another message that a different person could send in the same situation, so that the answer {answer!r} "
    "fits it exactly as it fits the message that the user gives. Vary details and wording. Reply with the new message "
    "alone."
)
_OUTPUT = (
    "Answer the message that the user gives. Your answer must agree with this one in content, but be worded anew: "
    "{answer}"
)


class Variations(Way):
    """`side: input`: another message with the same answer, as classification needs. `side: output`: another answer.

    Several answers to one input need `deduplicate: off` in the recipe.
    """

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """The row with another input, or another answer."""
        instruction = (_INPUT if self.side == "input" else _OUTPUT).format(answer=text_of(row, "output"))
        return changed_text(row, self.side, await drawing.rewrite(instruction, text_of(row, "input")))
