"""Recognises classification data and puts the recipe's system prompt in front of every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tunesmith.errors import DataError, Problem
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Labelled, Preference, Prompt, Row, Text

__all__ = ["MOST_LABELS", "are_labels", "expand_system", "with_system"]

MOST_LABELS = 200
_PLACEHOLDER = "{labels}"

Content = TypeVar("Content", Conversation, Preference, Labelled, Prompt, Text, Row)


def are_labels(distinct: int, rows: int) -> bool:
    """Whether answers of which `distinct` differ, in `rows` rows, are labels.

    They are when 2 to 200 differ and each is given twice or more on average (and none is empty).
    """
    return 2 * distinct <= rows and 2 <= distinct <= MOST_LABELS


def expand_system(system: str | None, labels: Sequence[str], distinct_answers: int) -> str | None:
    """`system` with every `{labels}` replaced by the comma-separated labels; other braces stay as they are.

    Raises:
        DataError: `{labels}` is used and the data is not classification.
    """
    if system is None or _PLACEHOLDER not in system:
        return system
    if not labels:
        message = f"{_PLACEHOLDER} needs 2 to {MOST_LABELS} distinct answers that repeat; there are {distinct_answers}"
        fix = f"remove {_PLACEHOLDER}, or check that the right column holds the answers"
        raise DataError([Problem(message, field="prepare.system", fix=fix)])
    return system.replace(_PLACEHOLDER, ", ".join(labels))


def with_system(content: Content, system: str | None) -> Content:
    """The row with `system` instead of its opening system messages; unchanged when `system` is None.

    Raises:
        DataError: the row is plain text, which nobody opens.
    """
    if system is None:
        return content
    if isinstance(content, Text):
        fix = "remove it, or give the rows as conversations"
        raise DataError([Problem("plain text takes no system prompt", field="prepare.system", fix=fix)])
    field = "messages" if isinstance(content, Conversation | Prompt) else "prompt"
    messages: tuple[Message, ...] = getattr(content, field)
    while messages and messages[0].role in ("system", "developer"):
        messages = messages[1:]
    opening = Message(role="system", content=system)
    return content.model_copy(update={field: (opening, *messages)})
