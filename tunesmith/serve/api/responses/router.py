"""/v1/responses: made, given back, deleted. They are made while the client waits, so none can be cancelled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from tunesmith.serve.api.responses import handler, kept
from tunesmith.serve.api.responses.protocol import InputTokensRequest, ResponseRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.disconnect import EventStream, while_connected
from tunesmith.serve.failures import invalid
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]

# What nginx logs for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v1/responses")

    @router.post("", response_model=dict[str, Any])
    async def create(body: ResponseRequest, request: Request, caller: Asking) -> Any:
        if body.stream:
            return EventStream(await handler.stream(service, body, caller.project))
        try:
            return await while_connected(request.receive, handler.create(service, body, caller.project))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @router.post("/input_tokens")
    async def input_tokens(body: InputTokensRequest, caller: Asking) -> dict[str, Any]:
        counted = await handler.count_tokens(service, body, caller.project)
        return {"object": "response.input_tokens", "input_tokens": counted}

    @router.post("/compact")
    async def compact() -> None:
        raise invalid("This model server does not compact conversations.", None)

    _add_kept(router, service)
    return router


def _add_kept(router: APIRouter, service: Service) -> None:
    """The routes of one kept response."""

    @router.get("/{response_id}")
    async def retrieve(response_id: str, caller: Asking, stream: bool | None = None) -> dict[str, Any]:
        if stream:
            raise invalid("A response that is kept is not streamed again.", "stream")
        return (await kept.retrieve(service, caller.project, response_id)).content

    @router.delete("/{response_id}")
    async def delete(response_id: str, caller: Asking) -> dict[str, Any]:
        return await kept.delete(service, caller.project, response_id)

    @router.post("/{response_id}/cancel")
    async def cancel(response_id: str, caller: Asking) -> dict[str, Any]:
        await kept.retrieve(service, caller.project, response_id)
        raise invalid("Only responses made in the background can be cancelled, and none are here.", "response_id")

    @router.get("/{response_id}/input_items")
    async def input_items(
        response_id: str,
        caller: Asking,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Page[dict[str, Any]]:
        return await kept.input_items(service, caller.project, response_id, limit, order, after)
