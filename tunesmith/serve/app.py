"""The HTTP application: every endpoint, OpenAI's error shape, a request id on every answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith import __version__
from tunesmith.serve import failures
from tunesmith.serve.api.chat_completions.router import build_router as chat_completions
from tunesmith.serve.api.health.router import build_router as health
from tunesmith.serve.api.models.router import build_router as models
from tunesmith.serve.service import Service

__all__ = ["create_app"]


def create_app(service: Service) -> FastAPI:
    """The application over `service`; the engine is closed when the application shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.engine.close()

    app = FastAPI(title="Tunesmith", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    failures.install(app)
    for build_router in (health, models, chat_completions):
        app.include_router(build_router(service))
    app.add_middleware(_RequestId)
    return app


class _RequestId:
    """Gives each answer an `x-request-id`, which the official client shows with its errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = f"req_{uuid.uuid4().hex}"
            await send(message)

        await self._app(scope, receive, send_with_id if scope["type"] == "http" else send)
