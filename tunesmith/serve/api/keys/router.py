"""GET and POST /v1/tunesmith/keys; GET and DELETE /v1/tunesmith/keys/{id}; POST /v1/tunesmith/keys/{id}/rotate."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from tunesmith.serve.api.keys import handler
from tunesmith.serve.api.keys.protocol import KeyCreated, KeyObject, KeyRequest, RotateRequest
from tunesmith.serve.caller import admin_of
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`, for administrators."""
    router = APIRouter(prefix="/v1/tunesmith/keys", dependencies=[Depends(admin_of)])

    @router.get("")
    async def list_keys(limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None) -> Page[KeyObject]:
        return await handler.list_keys(service, limit, after)

    @router.post("")
    async def create_key(body: KeyRequest) -> KeyCreated:
        return await handler.create_key(service, body)

    @router.get("/{key_id}")
    async def retrieve_key(key_id: str) -> KeyObject:
        return await handler.retrieve_key(service, key_id)

    @router.delete("/{key_id}")
    async def revoke_key(key_id: str) -> KeyObject:
        return await handler.revoke_key(service, key_id)

    @router.post("/{key_id}/rotate")
    async def rotate_key(key_id: str, body: RotateRequest | None = None) -> KeyCreated:
        return await handler.rotate_key(service, key_id, (body or RotateRequest()).overlap_seconds)

    return router
