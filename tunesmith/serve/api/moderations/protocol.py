"""What POST /v1/moderations takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.serve.body import Body
from tunesmith.types.base import Value

__all__ = ["ModerationAnswer", "ModerationRequest", "ModerationResult", "TextInput"]


class TextInput(Value):
    """A text in OpenAI's multi-modal form. Images are not offered."""

    type: Literal["text"]
    text: str


class ModerationRequest(Body):
    """A text, or a list: of texts (a result for each) or of parts of one input (one result)."""

    input: str | Annotated[list[str], Field(min_length=1)] | Annotated[list[TextInput], Field(min_length=1)]
    model: str | None = None

    def texts(self) -> list[str]:
        """One text for each result."""
        if isinstance(self.input, str):
            return [self.input]
        parts = [part.text for part in self.input if isinstance(part, TextInput)]
        return ["\n".join(parts)] if parts else [text for text in self.input if isinstance(text, str)]


class ModerationResult(Value):
    """The verdict on one input, with every category; a moderator that does not know a category scores it 0 and
    applies it to no input type.
    """

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, tuple[Literal["text"], ...]]


class ModerationAnswer(Value):
    """The results, and the moderator that gave them."""

    id: str
    model: str
    results: tuple[ModerationResult, ...]
