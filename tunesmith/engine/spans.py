"""Places in a pool of token slots: contiguous spans, taken first-fit and given back."""

from __future__ import annotations

import bisect

__all__ = ["SpanAllocator"]


class SpanAllocator:
    """Hands out contiguous spans of a pool of `capacity` token slots.

    First-fit from the low end keeps the touched memory small: slots never used are never backed by real memory.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free: list[tuple[int, int]] = (
            [(0, capacity)] if capacity else []
        )  # (start, length), sorted, never adjacent

    @property
    def free(self) -> int:
        """Number of free slots, in any number of spans."""
        return sum(length for _, length in self._free)

    def take(self, length: int) -> int | None:
        """Start of a free span of `length` slots, now taken; None when there is none."""
        for index, (start, size) in enumerate(self._free):
            if size >= length:
                remainder = [(start + length, size - length)] if size > length else []
                self._free[index : index + 1] = remainder
                return start
        return None

    def give(self, start: int, length: int) -> None:
        """Give back the span [start, start + length); ValueError when part of it is free already."""
        if length <= 0:
            return
        at = bisect.bisect_left(self._free, (start, 0))
        before = self._free[at - 1] if at else (-1, 0)
        after = self._free[at] if at < len(self._free) else (self.capacity, 0)
        if start < 0 or sum(before) > start or start + length > after[0]:
            raise ValueError(f"slots [{start}, {start + length}) are not taken")
        first, end = start, start + length
        low, high = at, at
        if at and sum(before) == start:
            first, low = before[0], at - 1
        if at < len(self._free) and after[0] == end:
            end, high = sum(after), at + 1
        self._free[low:high] = [(first, end - first)]
