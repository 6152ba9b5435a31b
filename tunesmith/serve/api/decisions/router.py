"""GET /v1/tunesmith/decisions, /{id} and /{id}/report."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse

from tunesmith.serve.api.decisions import handler
from tunesmith.serve.api.decisions.protocol import DecisionEntry
from tunesmith.serve.caller import admin_of
from tunesmith.serve.pages import After, Limit, Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`, for administrators; plain functions, run in threads, because they read files."""
    router = APIRouter(prefix="/v1/tunesmith/decisions", dependencies=[Depends(admin_of)])
    platform = service.platform

    @router.get("")
    def decisions(limit: Limit = 20, after: After = None) -> Page[DecisionEntry]:
        return handler.decisions(platform, limit, after)

    @router.get("/{identity}")
    def decision(identity: str) -> DecisionEntry:
        return handler.decision(platform, identity)

    @router.get("/{identity}/report", response_class=FileResponse)
    def decision_report(identity: str) -> FileResponse:
        return FileResponse(handler.page_file(platform, identity), media_type="text/html")

    return router
