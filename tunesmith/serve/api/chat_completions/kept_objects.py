"""Stored chats as the API shows them: OpenAI's objects."""

from __future__ import annotations

from typing import Any, Literal

from tunesmith.serve.api.chat_completions.objects import ChatCompletion
from tunesmith.serve.body import Body
from tunesmith.serve.metadata import Metadata
from tunesmith.types.base import Value

__all__ = ["ChatDeleted", "ChatUpdate", "StoredCompletion", "StoredMessage"]


class StoredCompletion(ChatCompletion):
    """An answer with what it was asked with, but for the messages, which have a list of their own."""

    metadata: dict[str, str]
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    seed: int | None
    tools: tuple[dict[str, Any], ...] | None
    tool_choice: Any
    response_format: dict[str, Any] | None
    input_user: str | None


class StoredMessage(Value):
    """A message that was sent. `content_parts` is what it was written in, where that was no plain text."""

    id: str
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None
    content_parts: tuple[dict[str, Any], ...] | None
    name: str | None
    refusal: str | None
    tool_calls: tuple[dict[str, Any], ...] | None
    tool_call_id: str | None
    function_call: dict[str, Any] | None


class ChatUpdate(Body):
    """What can be changed of a stored chat: its metadata, as a whole; null takes all of it away."""

    metadata: Metadata | None


class ChatDeleted(Value):
    """The chat is gone."""

    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: Literal[True] = True
