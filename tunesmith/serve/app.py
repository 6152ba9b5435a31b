"""The HTTP application: every endpoint, OpenAI's error shape, a request id on every answer."""

from __future__ import annotations

import importlib
import pkgutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith import __version__
from tunesmith.serve import api, failures
from tunesmith.serve.access import AccessCheck
from tunesmith.serve.accounting import Accounting, Books
from tunesmith.serve.body_limit import BodyLimit
from tunesmith.serve.guard import Guard
from tunesmith.serve.limits import Accounts
from tunesmith.serve.metering import Pending, metered
from tunesmith.serve.openapi import describe
from tunesmith.serve.recorder import Recorder
from tunesmith.serve.service import Service

__all__ = ["create_app"]

_API_VERSION = "2020-10-01"


def create_app(service: Service, guard: Guard) -> FastAPI:
    """The application over `service`; the engine is closed when the application shuts down."""
    accounts, pending = Accounts(), Pending(guard.max_pending)
    books = Books(accounts, pending, Recorder(service.platform.database, accounts), service.catalogue.base)
    service = service._replace(engine=metered(service.engine, pending))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        books.recorder.start()
        yield
        await books.recorder.stop()
        await service.engine.close()
        service.platform.close()

    app = FastAPI(version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    failures.install(app)
    for router in _routers(service):
        app.include_router(router)
    describe(app)
    # The last one added is the outermost: a request has an id, then a caller, then room, then a body.
    app.add_middleware(BodyLimit, guard=guard)
    app.add_middleware(Accounting, books=books)
    app.add_middleware(AccessCheck, keys=service.platform.keys if guard.keys else None)
    app.add_middleware(_Identification)
    return app


def _routers(service: Service) -> Iterator[APIRouter]:
    """The router of every endpoint: each folder of `tunesmith.serve.api` has a `router.py` with `build_router`."""
    for module in sorted(pkgutil.iter_modules(api.__path__), key=lambda found: found.name):
        built: APIRouter = importlib.import_module(f"{api.__name__}.{module.name}.router").build_router(service)
        yield built


class _Identification:
    """Gives each answer an `x-request-id`, which the official client shows with its errors, and says how many
    milliseconds went by before it began (`openai-processing-ms`) and in which version of the API it speaks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity, began = f"req_{uuid.uuid4().hex}", time.perf_counter()
        scope.setdefault("state", {})["request_id"] = identity

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = identity
                headers["openai-processing-ms"] = str(round(1000 * (time.perf_counter() - began)))
                headers["openai-version"] = _API_VERSION
            await send(message)

        await self._app(scope, receive, send_with_id if scope["type"] == "http" else send)
