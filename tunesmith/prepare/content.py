"""What a row says, as keys that compare equal when two rows say the same."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from tunesmith.types.base import digest_json
from tunesmith.types.conversation import Message
from tunesmith.types.preference import Labelled, Preference, Prompt, Row, Text

__all__ = ["answer_key", "normalised", "prompt_key", "subject_key"]


def normalised(text: str) -> str:
    """Unicode NFKC, case folded, white space collapsed to single spaces and trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_key(content: Row, *, exact: bool = False) -> str:
    """Digest of everything before the answer (a conversation's last assistant message), with the tools; of a text as a
    whole.

    Metadata plays no part.
    """
    if isinstance(content, Text):
        return digest_json(content.text if exact else normalised(content.text))
    tools = json.dumps(content.tools, sort_keys=True)
    return digest_json([tools, *_said(content.prompt, exact=exact)])


def subject_key(content: Row, *, exact: bool = False) -> str:
    """Digest of what the row gives an answer or a judgement to: rows that share it repeat or contradict each other.

    The prompt of a conversation; prompt and both answers, in either order, of a preference; prompt and answer of a
    judged answer; a text as a whole.
    """
    prompt = prompt_key(content, exact=exact)
    if isinstance(content, Preference):
        answers = (_said(answer, exact=exact) for answer in (content.chosen, content.rejected))
        return digest_json([prompt, *sorted(map(digest_json, answers))])
    if isinstance(content, Labelled):
        return digest_json([prompt, _said(content.completion, exact=exact)])
    return prompt


def answer_key(content: Row, *, exact: bool = False) -> str:
    """Digest of what the row says of its subject: the answer, which of two answers is better, whether it is wanted.

    Nothing for a text: it has no other subject than itself.
    """
    if isinstance(content, Preference):
        return digest_json([_said(answer, exact=exact) for answer in (content.chosen, content.rejected)])
    if isinstance(content, Labelled):
        return digest_json(content.label)
    if isinstance(content, Text):
        return ""
    if isinstance(content, Prompt):
        return digest_json(content.reference if exact else normalised(content.reference))
    return digest_json(_said(content.messages[len(content.prompt) :], exact=exact))


def _said(messages: Iterable[Message], *, exact: bool) -> list[list[object]]:
    return [
        [
            message.role,
            (message.content or "") if exact else normalised(message.content or ""),
            [[call.function.name, call.function.arguments] for call in message.tool_calls],
            message.weight != 0,
        ]
        for message in messages
    ]
