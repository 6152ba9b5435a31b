"""What a row of a dataset says besides a conversation: a preference, a judged answer, a prompt to answer, plain text.

Every kind of row has `conversations`: what is rendered, proven and trained, the wanted one first.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message, Shape

__all__ = ["Labelled", "Preference", "Prompt", "Row", "Text"]


class Preference(Value):
    """Two answers to one prompt, one better than the other; `margin` says by how much where that is known (else 0)."""

    shape: ClassVar[Shape] = "preference"

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float = 0.0
    tools: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = {}

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The prompt with the chosen answer, and with the rejected one; only the answers are trained."""
        return (_answered(self, self.chosen), _answered(self, self.rejected))


class Labelled(Value):
    """One answer to a prompt and whether it is wanted (`label`)."""

    shape: ClassVar[Shape] = "labelled"

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    tools: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = {}

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The prompt with the answer; only the answer is trained."""
        return (_answered(self, self.completion),)

    def answered_by(self, other: Labelled) -> Conversation:
        """This prompt with the answer that `other` has for its own prompt."""
        return _answered(self, other.completion)


class Prompt(Value):
    """A prompt that the model is to answer; `reference` is what a grader compares with ('' when there is none)."""

    shape: ClassVar[Shape] = "prompt"

    messages: tuple[Message, ...]
    reference: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = {}

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages."""
        return self.messages

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The prompt with the reference as its answer."""
        answer = Message(role="assistant", content=self.reference)
        return (Conversation(messages=(*self.messages, answer), tools=self.tools, metadata=self.metadata),)


class Text(Value):
    """A passage of plain text for continued training: every token of it is trained, and the end of text after it."""

    shape: ClassVar[Shape] = "text"

    text: str
    metadata: dict[str, str] = {}

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """None: nobody is asked."""
        return ()

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Nothing: the text answers no one."""
        return ()

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The text as the only message, of the role `text`."""
        return (Conversation(messages=(Message(role="text", content=self.text),), metadata=self.metadata),)


Row = Conversation | Preference | Labelled | Prompt | Text


def _answered(row: Preference | Labelled, answer: tuple[Message, ...]) -> Conversation:
    earlier = tuple(
        message.model_copy(update={"weight": 0}) if message.role == "assistant" else message for message in row.prompt
    )
    return Conversation(messages=(*earlier, *answer), tools=row.tools, metadata=row.metadata)
