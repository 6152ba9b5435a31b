"""GET /v1/tunesmith/routes and /{model}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tunesmith.serve.api.routes import handler
from tunesmith.serve.api.routes.protocol import RouteEntry
from tunesmith.serve.caller import Asking
from tunesmith.serve.pages import After, Limit, Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`, for every caller; each sees those of its own project."""
    router = APIRouter(prefix="/v1/tunesmith/routes")
    catalogue = service.catalogue

    @router.get("")
    def routes(
        caller: Asking, limit: Limit = 20, after: After = None, release: Annotated[str | None, Query()] = None
    ) -> Page[RouteEntry]:
        return handler.routes(catalogue, caller, (limit, after), release)

    @router.get("/{model:path}")
    def route(model: str, caller: Asking) -> RouteEntry:
        return handler.route(catalogue, caller, model)

    return router
