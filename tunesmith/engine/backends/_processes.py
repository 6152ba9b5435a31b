"""vLLM servers as processes of their own, started again when they die."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tunesmith.errors import EngineError

__all__ = ["Command", "Processes"]

_log = logging.getLogger(__name__)
_STOP_SECONDS = 15.0
_MOST_RESTARTS = 5
_CALM_SECONDS = 600.0


class Command:
    """A server's command line and environment; `{port}` in an argument is replaced by its port."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.arguments = tuple(arguments)
        self.environment = dict(environment)


class _Process:
    def __init__(self, command: Command, port: int, log: IO[bytes]) -> None:
        self.command = command
        self.port = port
        self.log = log
        self.starts: list[float] = []
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [part.replace("{port}", str(self.port)) for part in self.command.arguments]
        self.starts.append(time.monotonic())
        # A session of its own, so that the workers it starts can be stopped with it.
        self.running = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.command.environment},
            start_new_session=True,
        )

    def send(self, number: int) -> None:
        """Signal the whole group; one that is gone needs none."""
        if self.running is not None:
            try:
                os.killpg(self.running.pid, number)
            except ProcessLookupError:
                return


class Processes:
    """Servers on ports of their own, one for each of `ports`."""

    def __init__(self, command: Command | None = None, ports: Sequence[int] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tunesmith-vllm-") if command else None
        self._processes = [
            _Process(command, port, (Path(self._folder.name) / f"{port}.log").open("ab"))
            for port in ports
            if command and self._folder
        ]

    @property
    def started(self) -> bool:
        """Whether there are any."""
        return bool(self._processes)

    @property
    def ids(self) -> tuple[int, ...]:
        """Process ids of the servers that have been started."""
        return tuple(process.running.pid for process in self._processes if process.running)

    def start(self) -> None:
        """Start all. Raises EngineError when the program is not there."""
        for process in self._processes:
            try:
                process.start()
            except OSError as error:
                self.stop()
                raise EngineError(
                    f"vLLM cannot be started: {process.command.arguments[0]}: {error.strerror}.",
                    hint="Set the option python to the interpreter of an environment that has vLLM.",
                ) from error

    def restart_dead(self) -> None:
        """Start those again that have ended; one that died too often lately stays down."""
        for process in self._processes:
            if process.running is None or process.running.poll() is None:
                continue
            now = time.monotonic()
            process.starts = [start for start in process.starts if now - start < _CALM_SECONDS]
            if len(process.starts) > _MOST_RESTARTS:
                continue
            _log.warning("vLLM on port %d ended with %s; starting it again", process.port, process.running.returncode)
            process.send(signal.SIGKILL)  # what is left of its workers
            process.start()

    def require_running(self) -> None:
        """Raise EngineError with the end of its log for one that has ended."""
        for process in self._processes:
            if process.running is not None and process.running.poll() is not None:
                tail = Path(process.log.name).read_text(errors="replace")[-2000:]
                raise EngineError(f"vLLM ended with status {process.running.returncode}. The end of its log:\n{tail}")

    def stop(self) -> None:
        """Ask all to stop, then end those that do not."""
        for process in self._processes:
            process.send(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes:
            if process.running is not None:
                try:
                    process.running.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    _log.warning("vLLM on port %d does not stop; it is killed", process.port)
                process.send(signal.SIGKILL)
                process.running.wait()
            process.log.close()
        if self._folder is not None:
            self._folder.cleanup()
