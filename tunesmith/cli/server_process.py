"""A server of one's own for as long as it is needed: `chat` and `demo` speak to it as any client would."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tunesmith.errors import EngineError
from tunesmith.jobs.processes import ends_with_us
from tunesmith.ports import free_port

__all__ = ["ModelServer", "RunningServer", "model_server", "running_server"]

_START_SECONDS = 180.0
_SERVE = (sys.executable, "-m", "tunesmith.cli.main", "serve", "--port")


class RunningServer(NamedTuple):
    """The address of a server and the key that opens it."""

    address: str
    key: str


class ModelServer(NamedTuple):
    """The address (ending in /v1) of the server that has `model`, and its key where we know it."""

    address: str
    model: str
    key: str | None


@contextmanager
def running_server(home: Path, base: str | None = None) -> Iterator[RunningServer]:
    """Start `tunesmith serve` for `home` on a free local port with a key of its own, stop it at the end; when we are
    killed it ends with us.

    It serves `base` and the releases on it (None: the base of the newest release).

    Raises EngineError with the end of the server's log when it does not come up.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    key = f"sk-tunesmith-{secrets.token_urlsafe(32)}"
    environment = {**os.environ, "TUNESMITH_HOME": str(home), "TUNESMITH_ADMIN_KEY": key, **ends_with_us()}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*_SERVE, str(port), *(["--base", base] if base else [])],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, address, log)
            yield RunningServer(address, key)
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def model_server(model: str, home: Path) -> Iterator[ModelServer]:
    """The server of `MODEL@URL`, or one of our own with a release for as long as it is needed.

    Raises NotFound with the nearest match when there is no such release.
    """
    name, _, url = model.partition("@http")
    if url:
        yield ModelServer(f"http{url}", name, None)
        return
    from tunesmith.release.registry import open_registry
    from tunesmith.settings import Settings

    registry = open_registry(Settings(home=home))
    registry.get(model)
    registry.close()
    with running_server(home) as server:
        yield ModelServer(f"{server.address}/v1", model, server.key)


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineError(f"The server stopped while starting (exit code {process.returncode}).", hint=_tail(log))
        with contextlib.suppress(httpx.TransportError):  # not listening yet
            if httpx.get(f"{address}/health", timeout=5, trust_env=False).status_code == 200:
                return
        time.sleep(0.2)
    raise EngineError(f"The server did not come up within {_START_SECONDS:.0f} seconds.", hint=_tail(log))


def _tail(log: IO[bytes], lines: int = 15) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
