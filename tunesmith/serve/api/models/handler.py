"""Model ids from the catalogue. The registry is read in a thread, so the event loop never waits for the database."""

from __future__ import annotations

import asyncio

from tunesmith.serve.api.models.protocol import Model, ModelDeleted, ModelList
from tunesmith.serve.caller import Caller
from tunesmith.serve.catalogue import Served
from tunesmith.serve.failures import ApiError
from tunesmith.serve.service import Service
from tunesmith.store.tuned import TunedModels

__all__ = ["delete_model", "list_models", "retrieve_model"]


async def list_models(service: Service, caller: Caller) -> ModelList:
    """Every id that the caller's project can ask for."""
    served = await asyncio.to_thread(service.catalogue.list, caller.project)
    return ModelList(data=tuple(_model(one) for one in served))


async def retrieve_model(service: Service, caller: Caller, model: str) -> Model:
    """One id; raises ApiError 404 when there is none."""
    return _model(await asyncio.to_thread(service.catalogue.find, model, caller.project))


async def delete_model(service: Service, caller: Caller, model: str) -> ModelDeleted:
    """Forget a model that a job of the caller's project made.

    Raises ApiError 404 when there is none, 403 for a model that is everybody's.
    """
    tuned = TunedModels(service.platform.database)
    if not await asyncio.to_thread(tuned.delete, caller.project, model):
        await retrieve_model(service, caller, model)
        raise ApiError(
            403,
            f"The model '{model}' cannot be deleted here: only models that fine-tuning jobs made can.",
            param="model",
            code="insufficient_permissions",
        )
    return ModelDeleted(id=model)


def _model(served: Served) -> Model:
    release = served.release.reference if served.release else None
    return Model(id=served.id, created=served.created, release=release)
