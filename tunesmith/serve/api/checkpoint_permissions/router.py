"""/v1/fine_tuning/checkpoints/{checkpoint}/permissions, for administrators."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tunesmith.serve.api.checkpoint_permissions import handler
from tunesmith.serve.api.checkpoint_permissions.protocol import PermissionCreate, PermissionDeleted, PermissionObject
from tunesmith.serve.caller import AdminAsking
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service
from tunesmith.store.permissions import PermissionQuery

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    # `path`, because clients encode a slash in an id as %2F and servers decode it before routing.
    router = APIRouter(prefix="/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions")

    @router.post("")
    async def create_permissions(
        checkpoint: str, body: PermissionCreate, caller: AdminAsking
    ) -> Page[PermissionObject]:
        return await asyncio.to_thread(handler.create, service, caller.project, checkpoint, body)

    @router.get("")
    async def list_permissions(
        checkpoint: str,
        caller: AdminAsking,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        order: Literal["ascending", "descending"] = "descending",
        project_id: str | None = None,
    ) -> Page[PermissionObject]:
        query = PermissionQuery(limit, after, project_id, order == "ascending")
        return await asyncio.to_thread(handler.permissions, service, caller.project, checkpoint, query)

    @router.delete("/{permission_id}")
    async def delete_permission(checkpoint: str, permission_id: str, caller: AdminAsking) -> PermissionDeleted:
        await asyncio.to_thread(handler.delete, service, caller.project, checkpoint, permission_id)
        return PermissionDeleted(id=permission_id)

    return router
