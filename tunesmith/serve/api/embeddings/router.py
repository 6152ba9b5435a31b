"""POST /v1/embeddings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from tunesmith.serve.api.embeddings.handler import embed
from tunesmith.serve.api.embeddings.protocol import EmbeddingList, EmbeddingRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.disconnect import while_connected
from tunesmith.serve.service import Service

__all__ = ["build_router"]

# What nginx logs for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499


def build_router(service: Service) -> APIRouter:
    """The route over `service`."""
    router = APIRouter()

    @router.post("/v1/embeddings", response_model=EmbeddingList)
    async def embeddings(body: EmbeddingRequest, request: Request, caller: Asking) -> EmbeddingList | Response:
        try:
            return await while_connected(request.receive, embed(service, caller.project, body))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return router
