"""GET /health."""

from __future__ import annotations

from fastapi import APIRouter

from tunesmith.serve.api.health.handler import check
from tunesmith.serve.api.health.protocol import Health
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The route over `service`."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> Health:
        return check(service)

    return router
