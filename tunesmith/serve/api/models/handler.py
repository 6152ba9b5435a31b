"""Model ids from the catalogue. The registry is read in a thread, so the event loop never waits for the database."""

from __future__ import annotations

import asyncio

from tunesmith.serve.api.models.protocol import Model, ModelList
from tunesmith.serve.caller import Caller
from tunesmith.serve.catalogue import Served
from tunesmith.serve.service import Service

__all__ = ["list_models", "retrieve_model"]


async def list_models(service: Service, caller: Caller) -> ModelList:
    """Every id that the caller's project can ask for."""
    served = await asyncio.to_thread(service.catalogue.list, caller.project)
    return ModelList(data=tuple(_model(one) for one in served))


async def retrieve_model(service: Service, caller: Caller, model: str) -> Model:
    """One id; raises ApiError 404 when there is none."""
    return _model(await asyncio.to_thread(service.catalogue.find, model, caller.project))


def _model(served: Served) -> Model:
    release = served.release.reference if served.release else None
    return Model(id=served.id, created=served.created, release=release)
