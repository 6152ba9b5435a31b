"""Tasks that are stopped: what may be cut off, and what is done to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["stop", "to_the_end"]


async def to_the_end(work: Callable[[], None]) -> None:
    """Do `work` in a thread and wait for it, also when this task is cancelled: the thread goes on then, and what it
    stores must not come after the file of answers was written.
    """
    doing, stopped = asyncio.create_task(asyncio.to_thread(work)), None
    while not doing.done():  # a task may be cancelled more than once
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as error:
            stopped = error
    doing.result()
    if stopped is not None:
        raise stopped


async def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
