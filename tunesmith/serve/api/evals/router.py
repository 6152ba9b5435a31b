"""/v1/evals, their runs and output items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request

from tunesmith.serve.api.evals import handler
from tunesmith.serve.api.evals.protocol import (
    EvalCreate,
    EvalDeleted,
    EvalObject,
    EvalsQuery,
    EvalUpdate,
    ItemObject,
    ItemsQuery,
    RunCreate,
    RunDeleted,
    RunObject,
    RunsQuery,
)
from tunesmith.serve.api.evals.runner import running_evals
from tunesmith.serve.api.evals.shown import eval_object, item_object, page, run_object
from tunesmith.serve.caller import Asking
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`, and the work on runs while the application lives."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_evals(app, service):
            yield

    router = APIRouter(prefix="/v1/evals", lifespan=lifespan)
    _add_evals(router, service)
    _add_runs(router, service)
    _add_items(router, service)
    return router


def _add_evals(router: APIRouter, service: Service) -> None:
    store = handler.store_of(service)

    @router.post("")
    async def create_eval(body: EvalCreate, caller: Asking) -> EvalObject:
        return eval_object(await asyncio.to_thread(handler.create_eval, service, caller, body))

    @router.get("")
    async def list_evals(caller: Asking, query: Annotated[EvalsQuery, Query()]) -> Page[EvalObject]:
        by_update = query.order_by == "updated_at"
        found = await asyncio.to_thread(lambda: store.list(caller.project, query.window, by_update=by_update))
        return page(found, eval_object)

    @router.get("/{eval_id}")
    async def retrieve_eval(eval_id: str, caller: Asking) -> EvalObject:
        return eval_object(await asyncio.to_thread(store.get, caller.project, eval_id))

    @router.post("/{eval_id}")
    async def update_eval(eval_id: str, body: EvalUpdate, caller: Asking) -> EvalObject:
        return eval_object(await asyncio.to_thread(handler.update_eval, service, caller, eval_id, body))

    @router.delete("/{eval_id}")
    async def delete_eval(eval_id: str, caller: Asking) -> EvalDeleted:
        await asyncio.to_thread(store.delete, caller.project, eval_id)
        return EvalDeleted(eval_id=eval_id)


def _add_runs(router: APIRouter, service: Service) -> None:
    store = handler.store_of(service)

    @router.post("/{eval_id}/runs")
    async def create_run(eval_id: str, body: RunCreate, request: Request, caller: Asking) -> RunObject:
        run = await asyncio.to_thread(handler.create_run, service, caller, eval_id, body)
        return run_object(run, str(request.base_url))

    @router.get("/{eval_id}/runs")
    async def list_runs(
        eval_id: str,
        request: Request,
        caller: Asking,
        query: Annotated[RunsQuery, Query()],
    ) -> Page[RunObject]:
        found = await asyncio.to_thread(store.runs, caller.project, eval_id, query.window, query.status)
        return page(found, lambda run: run_object(run, str(request.base_url)))

    @router.get("/{eval_id}/runs/{run_id}")
    async def retrieve_run(eval_id: str, run_id: str, request: Request, caller: Asking) -> RunObject:
        run = await asyncio.to_thread(store.run, caller.project, eval_id, run_id)
        return run_object(run, str(request.base_url))

    @router.post("/{eval_id}/runs/{run_id}/cancel")
    async def cancel_run(eval_id: str, run_id: str, request: Request, caller: Asking) -> RunObject:
        run = await asyncio.to_thread(handler.cancel_run, service, caller, eval_id, run_id)
        return run_object(run, str(request.base_url))

    @router.delete("/{eval_id}/runs/{run_id}")
    async def delete_run(eval_id: str, run_id: str, caller: Asking) -> RunDeleted:
        await asyncio.to_thread(store.delete_run, caller.project, eval_id, run_id)
        return RunDeleted(run_id=run_id)


def _add_items(router: APIRouter, service: Service) -> None:
    store = handler.store_of(service)
    prefix = "/{eval_id}/runs/{run_id}/output_items"

    @router.get(prefix)
    async def list_items(
        eval_id: str,
        run_id: str,
        caller: Asking,
        query: Annotated[ItemsQuery, Query()],
    ) -> Page[ItemObject]:
        run = await asyncio.to_thread(store.run, caller.project, eval_id, run_id)
        found = await asyncio.to_thread(store.items, run, query.window, query.status)
        return page(found, item_object)

    @router.get(f"{prefix}/{{item_id}}")
    async def retrieve_item(eval_id: str, run_id: str, item_id: str, caller: Asking) -> ItemObject:
        run = await asyncio.to_thread(store.run, caller.project, eval_id, run_id)
        return item_object(await asyncio.to_thread(store.item, run, item_id))
