"""serve: one base model and all its releases behind an OpenAI-compatible HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn
from pydantic import Field

from tunesmith.engine.backend import start_engine
from tunesmith.engine.engine import Engine
from tunesmith.errors import EngineError
from tunesmith.release.registry import Registry
from tunesmith.serve.app import create_app
from tunesmith.serve.catalogue import BaseIdentity, Catalogue
from tunesmith.serve.connection import TimedProtocol
from tunesmith.serve.guard import Guard, require_guarded
from tunesmith.serve.platform import Platform
from tunesmith.serve.service import Service
from tunesmith.serve.shelf import AdapterShelf
from tunesmith.store.tuned import TunedModels
from tunesmith.types.recipe import PluginSpec

if TYPE_CHECKING:
    from tunesmith.models.weights import BaseFiles

__all__ = ["ServeOptions", "listening", "open_service", "running", "serve"]

_TURN_SECONDS = 0.0005
_OPEN_FILES = 65_536


class ServeOptions(Guard):
    """Where to listen (port 0: any free one), which backend, how many adapters stay loaded, how long a stop takes."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    backend: PluginSpec = PluginSpec(name="embedded")
    max_adapters: int = Field(default=8, ge=1)
    stop_seconds: int = Field(default=30, ge=0)


def open_service(
    base: BaseFiles, platform: Platform, options: ServeOptions, *, engine: Engine | None = None
) -> Service:
    """Start the engine for `base` (or use `engine`) and put the catalogue of the platform's releases beside it.

    Raises ModelError when the backend cannot serve the base.
    """
    from tunesmith.models.template import Renderer  # imports transformers, which reading options must not

    renderer = Renderer(base.path)
    identity = BaseIdentity(
        name=base.name,
        digest=base.digest,
        template_digest=renderer.template_digest,
        created=int((base.path / "config.json").stat().st_mtime),
    )
    started = engine or start_engine(options.backend, base.path)
    registry = Registry(platform.settings.home, platform.database)
    catalogue = Catalogue(registry, identity, TunedModels(platform.database))
    return Service(started, renderer, catalogue, AdapterShelf(started, options.max_adapters), platform)


def serve(service: Service, options: ServeOptions, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then finish the answers that run (at most `stop_seconds`) and close the engine.

    `on_ready` is called once with the server's URL. Raises EngineError when the address cannot be had, or when
    others can reach it while no keys are asked for.
    """
    _allow_connections()
    with listening(options) as (listener, url), _signals_only_stop(), _quick_turns():
        server = _Server(_config(service, options), lambda: on_ready(url))
        server.run(sockets=[listener])


@contextlib.contextmanager
def running(service: Service, options: ServeOptions) -> Iterator[str]:
    """The same server in a thread of this process: its URL inside the block, stopped and closed after it."""
    ready = threading.Event()
    with listening(options) as (listener, url):
        server = _Server(_config(service, options), ready.set)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="tunesmith-server")
        thread.start()
        try:
            while not ready.wait(timeout=0.05):
                if not thread.is_alive():
                    raise EngineError("The server stopped before it was ready.")
            yield url
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """A uvicorn server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening and tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


# Longer than clients keep an idle connection (httpx 5 s, aiohttp 15 s, Go 90 s), or theirs is closed under a request.
KEEP_ALIVE_SECONDS = 95


def _config(service: Service, options: ServeOptions) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(service, options),
        http=TimedProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=options.stop_seconds,
    )


@contextlib.contextmanager
def listening(options: ServeOptions) -> Iterator[tuple[socket.socket, str]]:
    """The socket of these options, and the URL it is asked under. Raises EngineError when the address cannot be had, or
    when others can reach it while no keys are asked for.
    """
    require_guarded(options, options.host)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; left on, each answer on a kept connection
    # waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            raise EngineError(
                f"Cannot listen on {options.host}:{options.port}: {error.strerror}.",
                hint="Choose another port; 0 takes any free one.",
            ) from error
        host = f"[{options.host}]" if ":" in options.host else options.host
        yield listener, f"http://{host}:{listener.getsockname()[1]}"


def _allow_connections() -> None:
    """Let this process open as many files as it may, up to 65,536: each connection is one, and shells allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    # macOS refuses more than its kernel's own limit; then the shell's stays.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """Python's threads (the engine's, the database's) let the event loop go on after half a millisecond, not five."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _signals_only_stop() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it has stopped; here that is not a reason to die."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
