"""Rows that are longer than `max_tokens`: dropped whole, cut in the middle of their context, or a reason to stop.

An answer is never cut: half an answer teaches to stop early. What is cut is the middle of the longest message of a
user or a tool, since instructions stand at its beginning or its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from tunesmith.errors import DataError, Problem, RenderingError
from tunesmith.types.conversation import Conversation, Message, Rendered
from tunesmith.types.preference import Labelled, Preference, Prompt, Row

__all__ = ["GAP", "LengthPolicy", "fitted"]

LengthPolicy = Literal["drop", "truncate", "refuse"]

GAP = "\n[...]\n"
"""Stands where text was cut."""

Content = TypeVar("Content", Conversation, Preference, Labelled, Prompt, Row)


def fitted(
    content: Row,
    rendered: list[Rendered],
    render: Callable[[Conversation], Rendered],
    limit: tuple[int, LengthPolicy],
) -> tuple[Row, list[Rendered], str, str]:
    """A row that is too long as the policy has it: content, its sequences, the reason it is dropped for, and a detail.

    With `truncate`, as many characters of the longest context message are kept as fit (found by bisection), half of
    them from each end; a row that is too long without that message is dropped.

    Raises DataError with `refuse`.
    """
    most, policy = limit
    longest = max(len(each.token_ids) for each in rendered)
    if policy == "refuse":
        fix = "shorten the row, raise prepare.max_tokens, or write prepare.too_long: drop (or truncate)"
        raise DataError([Problem(f"has {longest} tokens; prepare.max_tokens is {most}", field="messages", fix=fix)])
    if policy == "drop":
        return content, rendered, "too_long", f"{longest} tokens"
    place = _longest_context(content.conversations[0].messages)
    text = content.conversations[0].messages[place].content or "" if place is not None else ""
    best: tuple[Row, list[Rendered], int] | None = None
    low, high = 0, len(text) - len(GAP) - 1
    while low <= high:
        kept = (low + high) // 2
        cut = _with_text(content, place or 0, text[: (kept + 1) // 2] + GAP + text[len(text) - kept // 2 :])
        sequences = _rendered(cut, render)
        if sequences and max(len(each.token_ids) for each in sequences) <= most:
            best, low = (cut, sequences, len(text) - kept), kept + 1
        else:
            high = kept - 1
    if best is None:
        return content, rendered, "too_long", f"{longest} tokens, and too long without its context"
    return best[0], best[1], "", f"{best[2]} of {len(text)} characters cut from message {place}"


def _rendered(content: Row, render: Callable[[Conversation], Rendered]) -> list[Rendered]:
    """The row's sequences, none when it cannot be rendered."""
    try:
        return [render(conversation) for conversation in content.conversations]
    except RenderingError:
        return []


def _longest_context(messages: Sequence[Message]) -> int | None:
    places = [index for index, message in enumerate(messages) if message.role in ("user", "tool")]
    return max(places, key=lambda index: len(messages[index].content or ""), default=None)


def _with_text(content: Content, place: int, text: str) -> Content:
    """The row with another text in the message at `place` of its conversations (which all begin with the prompt)."""
    field = "messages" if isinstance(content, Conversation | Prompt) else "prompt"
    messages: tuple[Message, ...] = getattr(content, field)
    cut = messages[place].model_copy(update={"content": text})
    return content.model_copy(update={field: (*messages[:place], cut, *messages[place + 1 :])})
