"""What a conversation says, as keys that compare equal when two rows say the same."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from tunesmith.types.base import digest_json
from tunesmith.types.conversation import Conversation, Message

__all__ = ["answer_key", "normalised", "prompt_key"]


def normalised(text: str) -> str:
    """Unicode NFKC, case folded, white space collapsed to single spaces and trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_key(conversation: Conversation, *, exact: bool = False) -> str:
    """Digest of everything before the last assistant message, with the tools; metadata plays no part."""
    tools = json.dumps(conversation.tools, sort_keys=True)
    return digest_json([tools, *_said(conversation.prompt, exact=exact)])


def answer_key(conversation: Conversation, *, exact: bool = False) -> str:
    """Digest of the last assistant message and whatever follows it."""
    return digest_json(_said(conversation.messages[len(conversation.prompt) :], exact=exact))


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
