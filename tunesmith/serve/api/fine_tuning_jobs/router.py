"""/v1/fine_tuning/jobs, and the same under its older spelling /v1/fine-tuning/jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from tunesmith.serve.api.fine_tuning_jobs.handler import Jobs, Listing
from tunesmith.serve.api.fine_tuning_jobs.protocol import Checkpoint, CreateJob, Event, JobObject
from tunesmith.serve.caller import Asking
from tunesmith.serve.metadata import asked_metadata
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]

Limit = Annotated[int, Query(ge=1, le=100)]
RetryKey = Annotated[str | None, Header(alias="idempotency-key", max_length=255)]
RetryCount = Annotated[int, Header(alias="x-stainless-retry-count", ge=0)]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`."""
    jobs, router = Jobs(service), APIRouter()
    for prefix in ("/v1/fine_tuning/jobs", "/v1/fine-tuning/jobs"):
        router.include_router(_routes(jobs), prefix=prefix, include_in_schema="_" in prefix)
    return router


def _routes(jobs: Jobs) -> APIRouter:
    router = APIRouter()
    _looking(router, jobs)
    _changing(router, jobs)
    return router


def _looking(router: APIRouter, jobs: Jobs) -> None:
    @router.get("")
    async def listed(caller: Asking, request: Request, limit: Limit = 20, after: str | None = None) -> Page[JobObject]:
        return await asyncio.to_thread(jobs.list, Listing(limit, after, asked_metadata(request)), caller)

    @router.get("/{job}")
    async def retrieve(job: str, caller: Asking) -> JobObject:
        return await asyncio.to_thread(jobs.retrieve, job, caller)

    @router.get("/{job}/events")
    async def events(job: str, caller: Asking, limit: Limit = 20, after: str | None = None) -> Page[Event]:
        return await asyncio.to_thread(jobs.events, job, Listing(limit, after, {}), caller)

    @router.get("/{job}/checkpoints")
    async def checkpoints(job: str, caller: Asking, limit: Limit = 10, after: str | None = None) -> Page[Checkpoint]:
        return await asyncio.to_thread(jobs.checkpoints, job, Listing(limit, after, {}), caller)


def _changing(router: APIRouter, jobs: Jobs) -> None:
    @router.post("")
    async def create(body: CreateJob, caller: Asking, key: RetryKey = None, retries: RetryCount = 0) -> JobObject:
        return await asyncio.to_thread(jobs.create, body, caller, key, retries > 0)

    @router.post("/{job}/cancel")
    async def cancel(job: str, caller: Asking) -> JobObject:
        return await asyncio.to_thread(jobs.cancel, job, caller)

    @router.post("/{job}/pause")
    async def pause(job: str, caller: Asking) -> JobObject:
        return await asyncio.to_thread(jobs.pause, job, caller)

    @router.post("/{job}/resume")
    async def resume(job: str, caller: Asking) -> JobObject:
        return await asyncio.to_thread(jobs.resume, job, caller)
