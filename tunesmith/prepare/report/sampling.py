"""A few rows of many, chosen by their digest and not by their place: a fair sample, and the same one every time."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

__all__ = ["Smallest"]

Item = TypeVar("Item")


class Smallest(Generic[Item]):
    """Keeps the `most` items with the smallest digests; of equal ones the first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, Item]] = []
        self._seen = 0

    def add(self, digest: str, item: Item) -> None:
        """Show one item; `digest` is hexadecimal."""
        self._seen += 1
        # The heap's top is what goes next: the largest digest, of equal ones the last seen.
        entry = (-int(digest, 16), -self._seen, item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def found(self) -> tuple[Item, ...]:
        """The kept items, smallest digest first."""
        return tuple(item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))
