"""What keeps the stores tidy while the server runs: expired files go, and so does what killed processes left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tunesmith.errors import TunesmithError
from tunesmith.serve.platform import Platform

__all__ = ["housekeeping"]

_SECONDS = 60.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def housekeeping(platform: Platform, seconds: float = _SECONDS) -> AsyncIterator[None]:
    """Tidy at once and then every so many `seconds`, in the background, as long as the block lasts."""
    task = asyncio.create_task(_tidy_for_ever(platform, seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tidy_for_ever(platform: Platform, seconds: float) -> None:
    chores: tuple[Callable[[], int], ...] = (
        platform.files.delete_expired,
        platform.files.sweep,
        platform.uploads.end_expired,
        platform.uploads.sweep,
    )
    while True:
        for chore in chores:
            try:
                await asyncio.to_thread(chore)
            except (TunesmithError, OSError):
                _log.exception("the files could not be tidied up; tried again in %.0f seconds", seconds)
        await asyncio.sleep(seconds)
