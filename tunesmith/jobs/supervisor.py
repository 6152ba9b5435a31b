"""A worker in a process of its own beside the server: started again whenever it ends, ended with the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tunesmith.jobs.processes import start_child
from tunesmith.settings import Settings

__all__ = ["own_worker", "settings_environment"]

_LOOK_SECONDS = 0.2
_STOP_SECONDS = 20.0
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
_HEALTHY_SECONDS = 60.0


@contextmanager
def own_worker(settings: Settings) -> Iterator[None]:
    """A worker runs inside the block; it saves what it trains and hands it back at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=_keep_running, args=(settings, stop), name="worker")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def settings_environment(settings: Settings) -> dict[str, str]:
    """What a process must be told to work with the same settings."""
    given = {"TUNESMITH_HOME": str(settings.home)}
    if settings.database_url:
        given["TUNESMITH_DATABASE_URL"] = settings.database_url
    return given


def _keep_running(settings: Settings, stop: threading.Event) -> None:
    """In one thread all the time: on Linux a child ends with the thread that started it."""
    starts = 0
    while not stop.is_set():
        child = start_child(["-m", "tunesmith.cli.main", "worker"], settings_environment(settings), None)
        looks = 0
        while child.wait(_LOOK_SECONDS) is None:
            looks += 1
            if stop.is_set():
                child.stop(_STOP_SECONDS)
                return
        starts = 0 if looks * _LOOK_SECONDS > _HEALTHY_SECONDS else starts + 1
        stop.wait(_PAUSES[min(starts, len(_PAUSES) - 1)])
