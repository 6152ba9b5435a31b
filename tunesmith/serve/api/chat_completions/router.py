"""/v1/chat/completions: answered, and where the request says `store`, kept: listed, given back, labelled, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from tunesmith.serve.api.chat_completions import kept
from tunesmith.serve.api.chat_completions.handler import complete, stream
from tunesmith.serve.api.chat_completions.kept_objects import ChatDeleted, ChatUpdate, StoredCompletion, StoredMessage
from tunesmith.serve.api.chat_completions.objects import ChatCompletion
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.disconnect import EventStream, answer_or_gone
from tunesmith.serve.metadata import METADATA_QUERY, asked_metadata
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.service import Service
from tunesmith.store.chats import ChatFilter
from tunesmith.store.windows import Window

__all__ = ["build_router"]

Order = Literal["asc", "desc"]
Limit = Annotated[int, Query(ge=1, le=100)]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v1/chat/completions")

    @router.post("", response_model=ChatCompletion)
    async def chat_completions(body: ChatRequest, request: Request, caller: Asking) -> ChatCompletion | Response:
        if body.stream:
            return EventStream(await stream(service, body, caller.project))
        return await answer_or_gone(request.receive, complete(service, body, caller.project))

    _add_lists(router, service)
    _add_kept(router, service)
    return router


def _add_lists(router: APIRouter, service: Service) -> None:
    store = kept.store_of(service)

    @router.get("", openapi_extra={"parameters": [dict(METADATA_QUERY)]})
    async def list_chats(
        request: Request,
        caller: Asking,
        model: str | None = None,
        limit: Limit = 20,
        order: Order = "asc",
        after: str | None = None,
    ) -> Page[StoredCompletion]:
        wanted = ChatFilter(model=model, metadata=frozenset(asked_metadata(request).items()))
        window = Window(limit, after, order == "desc")
        return kept.shown_page(await asyncio.to_thread(store.list, caller.project, wanted, window))

    @router.get("/{completion_id}/messages")
    async def list_messages(
        completion_id: str, caller: Asking, limit: Limit = 20, order: Order = "asc", after: str | None = None
    ) -> Page[StoredMessage]:
        chat = await asyncio.to_thread(store.get, caller.project, completion_id)
        messages = kept.messages_of(chat)
        ordered = messages if order == "asc" else messages[::-1]
        return page_of(ordered, limit, after, lambda message: message.id)


def _add_kept(router: APIRouter, service: Service) -> None:
    store = kept.store_of(service)

    @router.get("/{completion_id}")
    async def retrieve_chat(completion_id: str, caller: Asking) -> StoredCompletion:
        return kept.shown(await asyncio.to_thread(store.get, caller.project, completion_id))

    @router.post("/{completion_id}")
    async def update_chat(completion_id: str, body: ChatUpdate, caller: Asking) -> StoredCompletion:
        return kept.shown(await asyncio.to_thread(store.label, caller.project, completion_id, body.metadata or {}))

    @router.delete("/{completion_id}")
    async def delete_chat(completion_id: str, caller: Asking) -> ChatDeleted:
        await asyncio.to_thread(store.delete, caller.project, completion_id)
        return ChatDeleted(id=completion_id)
