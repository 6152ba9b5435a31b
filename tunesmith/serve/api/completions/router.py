"""POST /v1/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from tunesmith.serve.api.completions.handler import complete, stream
from tunesmith.serve.api.completions.protocol import Completion, CompletionRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.disconnect import EventStream, while_connected
from tunesmith.serve.service import Service

__all__ = ["build_router"]

# What nginx logs for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499


def build_router(service: Service) -> APIRouter:
    """The route over `service`."""
    router = APIRouter()

    @router.post("/v1/completions", response_model=Completion)
    async def completions(body: CompletionRequest, request: Request, caller: Asking) -> Completion | Response:
        if body.stream:
            return EventStream(await stream(service, body, caller.project))
        try:
            return await while_connected(request.receive, complete(service, body, caller.project))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return router
