"""/v1/uploads: files in parts."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from tunesmith.serve.api.files.router import CLIENT_CLOSED_REQUEST
from tunesmith.serve.api.uploads.handler import add_part, cancel, complete, create
from tunesmith.serve.api.uploads.protocol import CompleteUpload, CreateUpload, PartObject, UploadObject
from tunesmith.serve.caller import Asking
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    platform = service.platform
    router = APIRouter(prefix="/v1/uploads")

    @router.post("")
    async def create_upload(body: CreateUpload, caller: Asking) -> UploadObject:
        return await create(platform, caller, body)

    data = {"type": "object", "properties": {"data": {"type": "string", "format": "binary"}}, "required": ["data"]}
    form = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": data}}}}

    @router.post("/{upload_id}/parts", response_model=PartObject, openapi_extra=form)
    async def create_part(upload_id: str, request: Request, caller: Asking) -> PartObject | Response:
        try:
            return await add_part(platform, caller, upload_id, request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)

    @router.post("/{upload_id}/complete")
    async def complete_upload(upload_id: str, body: CompleteUpload, caller: Asking) -> UploadObject:
        return await complete(platform, caller, upload_id, body)

    @router.post("/{upload_id}/cancel")
    async def cancel_upload(upload_id: str, caller: Asking) -> UploadObject:
        return await cancel(platform, caller, upload_id)

    return router
