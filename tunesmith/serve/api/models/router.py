"""GET /v1/models; GET and DELETE /v1/models/{id}."""

from __future__ import annotations

from fastapi import APIRouter

from tunesmith.serve.api.models.handler import delete_model, list_models, retrieve_model
from tunesmith.serve.api.models.protocol import Model, ModelDeleted, ModelList
from tunesmith.serve.caller import Asking
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v1/models")

    @router.get("")
    async def models(caller: Asking) -> ModelList:
        return await list_models(service, caller)

    # `path`, because clients encode a slash in an id as %2F and servers decode it before routing.
    @router.get("/{model:path}")
    async def model(model: str, caller: Asking) -> Model:
        return await retrieve_model(service, caller, model)

    @router.delete("/{model:path}")
    async def deleted(model: str, caller: Asking) -> ModelDeleted:
        return await delete_model(service, caller, model)

    return router
