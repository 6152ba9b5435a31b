"""/v1/files: create, list, retrieve, content, delete; and what keeps the store tidy while the server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from tunesmith.serve.api.files.handler import Listing, content, create, delete, list_files, retrieve
from tunesmith.serve.api.files.housekeeping import housekeeping
from tunesmith.serve.api.files.protocol import CreateFile, DeletedFile, Examples, FileObject
from tunesmith.serve.caller import Asking
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service
from tunesmith.types.files import Purpose

__all__ = ["CLIENT_CLOSED_REQUEST", "RAW_BYTES", "build_router"]

CLIENT_CLOSED_REQUEST = 499
"""What nginx logs for a client that went away; nobody receives it."""

_BINARY: Mapping[str, str] = {"type": "string", "format": "binary"}
RAW_BYTES: Mapping[str, Any] = {
    "description": "The bytes",
    "content": {"application/octet-stream": {"schema": _BINARY}},
}
"""How the OpenAPI document says that an answer is the bytes of a file."""


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    platform = service.platform

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with housekeeping(platform):
            yield

    router = APIRouter(prefix="/v1/files", lifespan=lifespan)

    @router.post("", response_model=FileObject, openapi_extra=_body())
    async def create_file(request: Request, caller: Asking) -> FileObject | Response:
        try:
            return await create(platform, caller, request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)

    @router.get("")
    async def files(
        caller: Asking,
        purpose: Purpose | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        after: str | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> Page[FileObject]:
        return await list_files(platform, caller, Listing(purpose, limit, after, order))

    @router.get("/{file_id}")
    async def file(file_id: str, caller: Asking) -> FileObject:
        return await retrieve(platform, caller, file_id)

    @router.get("/{file_id}/content", response_class=StreamingResponse, responses={200: dict(RAW_BYTES)})
    async def file_content(file_id: str, caller: Asking) -> StreamingResponse:
        found = await content(platform, caller, file_id)
        # Whatever the file says of itself, a browser is not to show it as a page of this server.
        headers = {"content-length": str(found.size), "x-content-type-options": "nosniff"}
        return StreamingResponse(found.pieces, media_type="application/octet-stream", headers=headers)

    @router.delete("/{file_id}")
    async def delete_file(file_id: str, caller: Asking) -> DeletedFile:
        return await delete(platform, caller, file_id)

    return router


def _body() -> dict[str, Any]:
    """The request body, which is read as a stream and not by the framework, for the OpenAPI document."""
    form = CreateFile.model_json_schema(ref_template="#/components/schemas/{model}")
    form = _inlined({**form, "properties": {"file": dict(_BINARY), **form["properties"]}})
    content_types = {
        "multipart/form-data": {"schema": {**form, "required": ["file", "purpose"]}},
        "application/json": {"schema": _inlined(Examples.model_json_schema())},
    }
    return {"requestBody": {"required": True, "content": content_types}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its one definition in place, as a document of its own has no other place for it."""
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolved(definitions[part["$ref"].rpartition("/")[2]])
            return {key: resolved(value) for key, value in part.items()}
        return [resolved(one) for one in part] if isinstance(part, list) else part

    found: dict[str, Any] = resolved(schema)
    return found
