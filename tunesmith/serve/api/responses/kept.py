"""Responses that are kept: given back, listed by their input, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from tunesmith.serve.failures import ApiError
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.service import Service
from tunesmith.store.responses import delete_response, response_by_id
from tunesmith.types.responses import StoredResponse

__all__ = ["delete", "input_items", "retrieve"]


async def retrieve(service: Service, project: str, identity: str) -> StoredResponse:
    """The response. Raises ApiError 404 when `project` has none with this id."""

    def read() -> StoredResponse | None:
        with service.platform.database.transaction() as session:
            return response_by_id(session, project, identity)

    found = await asyncio.to_thread(read)
    if found is None:
        raise ApiError(404, f"Response with id '{identity}' not found.", param="response_id", code="not_found")
    return found


async def delete(service: Service, project: str, identity: str) -> dict[str, Any]:
    """Forget the response. Raises ApiError 404 when there is none."""
    await retrieve(service, project, identity)

    def remove() -> None:
        with service.platform.database.transaction() as session:
            delete_response(session, project, identity)

    await asyncio.to_thread(remove)
    return {"id": identity, "object": "response", "deleted": True}


async def input_items(
    service: Service, project: str, identity: str, limit: int, order: str, after: str | None
) -> Page[dict[str, Any]]:
    """The items of the response's own input."""
    found = await retrieve(service, project, identity)
    items = list(found.input) if order == "asc" else list(reversed(found.input))
    return page_of(items, limit, after, lambda item: str(item["id"]))
