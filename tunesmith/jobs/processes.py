"""Processes that end with the one that started them, whatever ends it, and only one of a kind at a time."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tunesmith.errors import TunesmithError

__all__ = ["Child", "bind_to_parent", "ends_with_us", "limit_memory", "only_one", "start_child", "taken"]

_PR_SET_PDEATHSIG = 1
_PARENT = "TUNESMITH_PARENT_PROCESS"


class Child:
    """A process that we started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit code (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """The same, after at most `seconds`."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, patience_seconds: float) -> int:
        """Ask it to end and kill it when it has not within the time; the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        if self.wait(patience_seconds) is None:
            self._process.kill()
        code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code


def start_child(command: Sequence[str], environment: Mapping[str, str], log: Path | None) -> Child:
    """Start `command`, which calls `bind_to_parent`; what it says is appended to `log` (None: what it says as an
    error goes where our errors go).

    A signal to our terminal does not reach it: we pass on what it needs to know. Call it from a thread that lives as
    long as the child: on Linux the child ends with that thread.
    """
    target = None if log is None else log.open("ab")
    try:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if target is None else target,
            stderr=target,
            env={**_without_secrets(), **environment, **ends_with_us()},
            start_new_session=True,
        )
    finally:
        if target is not None:
            target.close()
    return Child(process)


def ends_with_us() -> dict[str, str]:
    """What the environment of a child says so that `bind_to_parent` binds it to this process; its standard input has to
    be a pipe of ours.
    """
    return {_PARENT: str(os.getpid())}


def _without_secrets() -> dict[str, str]:
    """Our environment but for the key of the server, which no worker needs."""
    return {name: value for name, value in os.environ.items() if name != "TUNESMITH_ADMIN_KEY"}


def bind_to_parent() -> None:
    """End this process (SIGKILL) as soon as the one that started it by `start_child`, or with `ends_with_us`, has
    ended; nothing otherwise.

    The kernel does it on Linux. Everywhere, standard input ends when the parent does.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        os._exit(1)
    threading.Thread(target=_end_with_input, name="parent", daemon=True).start()


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def limit_memory(megabytes: int) -> None:
    """Refuse this process more than so much memory of its own."""
    limit = megabytes << 20
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


@contextmanager
def only_one(lock: Path, patience_seconds: float) -> Iterator[None]:
    """Hold `lock` inside the block; wait for who holds it. The system gives it up when a process ends in any way.

    Raises TunesmithError when it is still held after `patience_seconds`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience_seconds
    with lock.open("a") as handle:
        while not _locked(handle):
            if time.monotonic() > end:
                raise TunesmithError(f"{lock.name} is held by another process.")
            time.sleep(0.05)
        yield


def taken(lock: Path) -> IO[str] | None:
    """The lock, held until the handle is closed; None when another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = lock.open("a")
    if _locked(handle):
        return handle
    handle.close()
    return None


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
