"""/v1/batches: create, list, retrieve, cancel; and the worker that answers the requests while the server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query

from tunesmith.serve.api.batches.handler import cancel, create, list_batches, retrieve
from tunesmith.serve.api.batches.protocol import BatchObject, CreateBatch
from tunesmith.serve.api.batches.worker import working
from tunesmith.serve.caller import Asking
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    platform = service.platform

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with working(platform, app):
            yield

    router = APIRouter(prefix="/v1/batches", lifespan=lifespan)

    @router.post("")
    async def create_batch(body: CreateBatch, caller: Asking) -> BatchObject:
        return await create(platform, caller, body)

    @router.get("")
    async def batches(
        caller: Asking, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None
    ) -> Page[BatchObject]:
        return await list_batches(platform, caller, limit, after)

    @router.get("/{batch_id}")
    async def batch(batch_id: str, caller: Asking) -> BatchObject:
        return await retrieve(platform, caller, batch_id)

    @router.post("/{batch_id}/cancel")
    async def cancel_batch(batch_id: str, caller: Asking) -> BatchObject:
        return await cancel(platform, caller, batch_id)

    return router
