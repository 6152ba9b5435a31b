"""/v1/webhook_endpoints and /v1/webhook_event_types. Only administrators say where the server sends events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, get_args

from fastapi import APIRouter, FastAPI, Query

from tunesmith.serve.api.webhooks import handler
from tunesmith.serve.api.webhooks.protocol import (
    EndpointCreate,
    EndpointDeleted,
    EndpointObject,
    EndpointUpdate,
    EndpointWithSecret,
    EventTypes,
    RotateRequest,
    TestRequest,
    TestResult,
)
from tunesmith.serve.api.webhooks.sending import sending_events
from tunesmith.serve.caller import AdminAsking
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service
from tunesmith.store.webhooks import WebhookStore
from tunesmith.types.webhooks import EventType

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`, and the sending of events while the application lives."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sending_events(service):
            yield

    router = APIRouter(prefix="/v1", lifespan=lifespan)
    _add_management(router, WebhookStore(service.platform.database))
    _add_secrets(router, WebhookStore(service.platform.database))
    return router


def _add_management(router: APIRouter, store: WebhookStore) -> None:
    @router.post("/webhook_endpoints")
    async def create_webhook(body: EndpointCreate, caller: AdminAsking) -> EndpointWithSecret:
        return await asyncio.to_thread(handler.create, store, caller.project, body)

    @router.get("/webhook_endpoints")
    async def list_webhooks(
        caller: AdminAsking, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> Page[EndpointObject]:
        found = await asyncio.to_thread(store.list, caller.project, limit, after)
        data = tuple(map(handler.shown, found.items))
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return Page[EndpointObject](data=data, has_more=found.has_more, first_id=first, last_id=last)

    @router.get("/webhook_endpoints/{webhook_endpoint_id}")
    async def retrieve_webhook(webhook_endpoint_id: str, caller: AdminAsking) -> EndpointObject:
        return handler.shown(await asyncio.to_thread(store.get, caller.project, webhook_endpoint_id))

    @router.post("/webhook_endpoints/{webhook_endpoint_id}")
    async def update_webhook(webhook_endpoint_id: str, body: EndpointUpdate, caller: AdminAsking) -> EndpointObject:
        return await asyncio.to_thread(handler.update, store, caller.project, webhook_endpoint_id, body)

    @router.delete("/webhook_endpoints/{webhook_endpoint_id}")
    async def delete_webhook(webhook_endpoint_id: str, caller: AdminAsking) -> EndpointDeleted:
        await asyncio.to_thread(store.delete, caller.project, webhook_endpoint_id)
        return EndpointDeleted(id=webhook_endpoint_id)


def _add_secrets(router: APIRouter, store: WebhookStore) -> None:
    @router.post("/webhook_endpoints/{webhook_endpoint_id}/rotate_secret")
    async def rotate_secret(
        webhook_endpoint_id: str, caller: AdminAsking, body: RotateRequest | None = None
    ) -> EndpointWithSecret:
        wanted = body or RotateRequest()
        return await asyncio.to_thread(handler.rotate, store, caller.project, webhook_endpoint_id, wanted)

    @router.post("/webhook_endpoints/{webhook_endpoint_id}/test")
    async def test_webhook(webhook_endpoint_id: str, body: TestRequest, caller: AdminAsking) -> TestResult:
        endpoint = await asyncio.to_thread(store.get, caller.project, webhook_endpoint_id)
        return await handler.test(endpoint, body.event_type)

    @router.get("/webhook_event_types")
    async def event_types(_: AdminAsking) -> EventTypes:
        return EventTypes(data=get_args(EventType))
