"""POST /v1/moderations."""

from __future__ import annotations

from fastapi import APIRouter

from tunesmith.serve.api.moderations.handler import moderate
from tunesmith.serve.api.moderations.protocol import ModerationAnswer, ModerationRequest
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(_: Service) -> APIRouter:
    """The route; no model of the server is needed."""
    router = APIRouter()

    @router.post("/v1/moderations")
    async def moderations(body: ModerationRequest) -> ModerationAnswer:
        return await moderate(body)

    return router
