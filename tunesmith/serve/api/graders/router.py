"""POST /v1/fine_tuning/alpha/graders/validate and /run."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tunesmith.serve.api.graders import handler
from tunesmith.serve.api.graders.protocol import RunAnswer, RunRequest, ValidateAnswer, ValidateRequest
from tunesmith.serve.caller import Asking
from tunesmith.serve.inside import judge_of
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(_: Service) -> APIRouter:
    """The routes. Judging models are asked through the application itself."""
    router = APIRouter(prefix="/v1/fine_tuning/alpha/graders")

    @router.post("/validate", response_model=ValidateAnswer)
    async def validate(body: ValidateRequest, request: Request) -> JSONResponse:
        handler.validate(body)
        return JSONResponse({"grader": (await request.json())["grader"]})

    @router.post("/run")
    async def run(body: RunRequest, request: Request, caller: Asking) -> RunAnswer:
        async with judge_of(request.app, caller) as judge:
            return await handler.run(body, judge)

    return router
