"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from tunesmith.serve.api.chat_completions.handler import complete, stream
from tunesmith.serve.api.chat_completions.objects import ChatCompletion
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.disconnect import EventStream, answer_or_gone
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The route over `service`."""
    router = APIRouter()

    @router.post("/v1/chat/completions", response_model=ChatCompletion)
    async def chat_completions(body: ChatRequest, request: Request, caller: Asking) -> ChatCompletion | Response:
        if body.stream:
            return EventStream(await stream(service, body, caller.project))
        return await answer_or_gone(request.receive, complete(service, body, caller.project))

    return router
