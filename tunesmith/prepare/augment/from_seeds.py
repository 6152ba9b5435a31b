"""Synthetic rows: a new request like a seed's, and the model's answer (Wang et al. 2023, arXiv:2212.10560)."""

from __future__ import annotations

from tunesmith.prepare.augmentation import Drawing, Way, changed_text, text_of
from tunesmith.types.conversation import Conversation

__all__ = ["FromSeeds"]

_INSTRUCTION = (
    "The user gives one request as an example. Write one new request of the same kind, about something else, that can "
    "be answered without anything but its own text. Reply with the new request alone."
)


class FromSeeds(Way):
    """A new request like the seed's and the model's answer to it, under the seed's system prompt.

    Each row has one seed for parent, so that it can land in its split. Keep the good ones with a grader.
    """

    async def make(self, row: Conversation, drawing: Drawing) -> Conversation:
        """A request, then its answer: the conversation up to its last exchange is the seed's."""
        asked = changed_text(row, "input", await drawing.rewrite(_INSTRUCTION, text_of(row, "input")))
        messages = [message.model_dump(mode="json", exclude_defaults=True) for message in asked.prompt]
        return changed_text(asked, "output", await drawing.say(messages))
