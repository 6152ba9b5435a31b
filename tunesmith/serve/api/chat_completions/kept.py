"""Chats that are kept: written down when they are answered, and shown again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tunesmith.engine.calls import Found
from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.answering.plan import Plan
from tunesmith.serve.api.chat_completions.answers import Reader, assembled
from tunesmith.serve.api.chat_completions.kept_objects import StoredCompletion, StoredMessage
from tunesmith.serve.api.chat_completions.objects import ChatCompletion, Choice
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.serve.pages import Page
from tunesmith.serve.service import PromptRenderer, Service
from tunesmith.store.chats import ChatStore
from tunesmith.store.windows import Slice
from tunesmith.types.chats import StoredChat

__all__ = ["Heard", "keep", "messages_of", "shown", "shown_page", "store_of"]


class Heard:
    """What was said in each choice of a stream so far, for the answer that is kept."""

    def __init__(self, choices: int) -> None:
        self._events: list[list[TokenEvent]] = [[] for _ in range(choices)]
        self._pieces: list[list[Found]] = [[] for _ in range(choices)]

    def add(self, index: int, event: TokenEvent, pieces: Sequence[Found]) -> None:
        """The event of a choice and what its reader found in it."""
        self._events[index].append(event)
        self._pieces[index] += pieces

    def choices(self, readers: Sequence[Reader], renderer: PromptRenderer | None) -> tuple[Choice, ...]:
        """The whole answers, word for word as they were streamed."""
        heard = zip(self._events, self._pieces, readers, strict=True)
        return tuple(
            assembled(index, pieces, events, reader, renderer) for index, (events, pieces, reader) in enumerate(heard)
        )


def store_of(service: Service) -> ChatStore:
    """The stored chats of the platform."""
    return ChatStore(service.platform.database)


async def keep(service: Service, request: ChatRequest, project: str, found: Plan, answer: ChatCompletion) -> None:
    """Keep the answer when the request asks for that."""
    if not request.store:
        return
    sampling = found.samplings[0]
    asked = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    content = answer.model_dump(mode="json") | {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": request.seed,
        "tools": [tool.model_dump(mode="json", exclude_none=True) for tool in request.offered] or None,
        "tool_choice": asked.get("function_call" if request.legacy else "tool_choice"),
        "response_format": asked.get("response_format"),
        "input_user": request.user,
    }
    chat = StoredChat(
        id=answer.id,
        project=project,
        created_at=answer.created,
        metadata=request.metadata or {},
        content=content,
        messages=tuple(asked["messages"]),
    )
    await asyncio.to_thread(store_of(service).add, chat)


def shown(chat: StoredChat) -> StoredCompletion:
    """The chat as the API shows it."""
    return StoredCompletion.model_validate(chat.content | {"metadata": chat.metadata})


def shown_page(found: Slice[StoredChat]) -> Page[StoredCompletion]:
    """A part of a list."""
    data = tuple(map(shown, found.items))
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return Page[StoredCompletion](data=data, has_more=found.has_more, first_id=ends[0], last_id=ends[1])


def messages_of(chat: StoredChat) -> tuple[StoredMessage, ...]:
    """The messages that were sent, in their order."""
    return tuple(_message(f"{chat.id}-{index}", message) for index, message in enumerate(chat.messages))


def _message(identity: str, message: dict[str, Any]) -> StoredMessage:
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    texts = [str(part.get("text") or part.get("refusal") or "") for part in parts or ()]
    fields = ("role", "name", "refusal", "tool_calls", "tool_call_id", "function_call")
    said = {"content": content if parts is None else "".join(texts), "content_parts": parts}
    return StoredMessage.model_validate({"id": identity, **said, **{field: message.get(field) for field in fields}})
