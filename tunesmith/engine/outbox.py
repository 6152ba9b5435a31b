"""From an engine's thread to the event loop that waits for the answer."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Outbox"]

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """A queue of items or one error. Made inside a running event loop, filled from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._closed = False

    @property
    def closed(self) -> bool:
        """True when nobody will read any more."""
        return self._closed or self._loop.is_closed()

    def close(self) -> None:
        """Say that nobody will read any more."""
        self._closed = True

    def put(self, item: Item | Exception) -> None:
        """Hand over an item, or the error that ends the stream."""
        if self.closed:
            return
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:
            # The event loop was closed between the check and the call: there is no reader to tell.
            self._closed = True

    async def get(self) -> Item:
        """The next item; raises the error that was put."""
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item
