"""Conversations in the shape of OpenAI's chat API: what every dataset format is read into."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from tunesmith.types.base import Value

__all__ = ["Conversation", "FunctionCall", "Message", "Rendered", "Role", "Shape", "Span", "ToolCall"]

Role = Literal["system", "developer", "user", "assistant", "tool", "text"]
"""Who speaks; `text` is nobody: a passage that is rendered without a chat template and stands alone."""
Shape = Literal["conversation", "preference", "labelled", "prompt", "text"]
"""The kinds of rows a dataset can have; all rows of one dataset are of the same kind."""


class FunctionCall(Value):
    """The function an assistant wants called; `arguments` is a JSON text."""

    name: str
    arguments: str


class ToolCall(Value):
    """One tool call of an assistant message."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class Message(Value):
    """One message. `weight` 0 on an assistant message excludes it from the loss; None means 1."""

    role: Role
    content: str | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    weight: Literal[0, 1] | None = None

    @model_validator(mode="after")
    def _has_something_to_say(self) -> Message:
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs content (or, for an assistant, tool_calls)")
        return self


class Conversation(Value):
    """Messages in order, with the tools offered to the model and free metadata (never rendered)."""

    shape: ClassVar[Shape] = "conversation"

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = {}

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """What is rendered and trained of this row: itself."""
        return (self,)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All messages before the last assistant message: what a server would receive; none before a text."""
        return self.messages[: self._last_assistant]

    @property
    def reference(self) -> str:
        """Content of the last assistant message: the expected answer ('' when it only calls tools); or the text."""
        return self.messages[self._last_assistant].content or ""

    @property
    def is_text(self) -> bool:
        """Whether this is a passage of plain text, not a conversation."""
        return self.messages[0].role == "text"

    @property
    def _last_assistant(self) -> int:
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role in ("assistant", "text"):
                return index
        raise ValueError("the conversation has no assistant message")


class Span(Value):
    """Tokens [start, end) of a rendered conversation that came from message `message` (-1: from the template)."""

    start: int
    end: int
    message: int
    role: str
    trained: bool


class Rendered(Value):
    """A conversation as the model sees it. Made only by `tunesmith.models.template`.

    token_ids [T]; loss_weights [T], the weight of the loss at predicting that token; spans in order, covering [0, T).
    """

    token_ids: tuple[int, ...]
    loss_weights: tuple[float, ...]
    spans: tuple[Span, ...]

    @property
    def trained_tokens(self) -> int:
        """Number of tokens with a loss weight above zero."""
        return sum(weight > 0 for weight in self.loss_weights)

    @property
    def virtual_tokens(self) -> int:
        """Number of virtual tokens (negative ids) the row begins with: they belong to the model, not to the text."""
        return next((index for index, token in enumerate(self.token_ids) if token >= 0), len(self.token_ids))

    def after(self, ids: tuple[int, ...]) -> Rendered:
        """The row behind the untrained tokens `ids`."""
        if not ids:
            return self
        moved = (
            span.model_copy(update={"start": span.start + len(ids), "end": span.end + len(ids)}) for span in self.spans
        )
        first = Span(start=0, end=len(ids), message=-1, role="virtual", trained=False)
        return Rendered(
            token_ids=(*ids, *self.token_ids),
            loss_weights=(*(0.0,) * len(ids), *self.loss_weights),
            spans=(first, *moved) if self.spans else (),
        )
