"""GET /v1/tunesmith/{releases,datasets,runs} and what belongs to one of them."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse

from tunesmith.serve.api.home import handler
from tunesmith.serve.api.home.protocol import (
    DatasetEntry,
    DroppedEntry,
    MetricsEntry,
    ReleaseDetail,
    ReleaseEntry,
    RunEntry,
)
from tunesmith.serve.caller import admin_of
from tunesmith.serve.disconnect import EventStream
from tunesmith.serve.pages import After, Limit, Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`. They are plain functions, which FastAPI runs in threads: all of them read files."""
    router = APIRouter(prefix="/v1/tunesmith", dependencies=[Depends(admin_of)])
    platform = service.platform

    @router.get("/releases")
    def releases(limit: Limit = 20, after: After = None) -> Page[ReleaseEntry]:
        return handler.releases(platform, limit, after)

    @router.get("/releases/{reference:path}")
    def release(reference: str) -> ReleaseDetail:
        return handler.release(platform, reference)

    @router.get("/datasets")
    def datasets(limit: Limit = 20, after: After = None) -> Page[DatasetEntry]:
        return handler.datasets(platform, limit, after)

    @router.get("/datasets/{name}")
    def dataset(name: str) -> DatasetEntry:
        return handler.dataset(platform, name)

    @router.get("/datasets/{name}/dropped")
    def dropped(name: str, limit: Limit = 20, after: After = None) -> Page[DroppedEntry]:
        return handler.dropped_rows(platform, name, limit, after)

    @router.get("/datasets/{name}/report", response_class=FileResponse)
    def dataset_report(name: str) -> FileResponse:
        return FileResponse(handler.page_file(platform, "dataset", name), media_type="text/html")

    @router.get("/runs")
    def runs(limit: Limit = 20, after: After = None) -> Page[RunEntry]:
        return handler.runs(platform, limit, after)

    @router.get("/runs/{name}")
    def run(name: str) -> RunEntry:
        return handler.run(platform, name)

    @router.get("/runs/{name}/metrics")
    def metrics(name: str, limit: Limit = 1000, after: After = None) -> Page[MetricsEntry]:
        return handler.metrics(platform, name, limit, after)

    @router.get("/runs/{name}/metrics/stream", response_class=EventStream)
    async def metrics_stream(name: str) -> EventStream:
        return EventStream(await handler.follow_metrics(platform, name))

    @router.get("/runs/{name}/report", response_class=FileResponse)
    def run_report(name: str) -> FileResponse:
        return FileResponse(handler.page_file(platform, "run", name), media_type="text/html")

    return router
