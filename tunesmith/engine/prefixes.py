"""Which keys and values of earlier requests can be used again.

An entry is keyed by the adapter's digest and the tokens themselves: the base model never continues from keys that an
adapter made. (Base and template are fixed for the life of an engine, and the template's work is in the tokens.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PrefixCache", "PrefixEntry", "shared_prefix"]


def shared_prefix(left: Sequence[int], right: Sequence[int], limit: int) -> int:
    """Length of the longest common prefix of two token sequences of one type, at most `limit`.

    Bisection over slice comparisons, which run in C: a few microseconds for thousands of tokens.
    """
    low, high = 0, min(len(left), len(right), limit)
    if left[:high] == right[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class PrefixEntry:
    """Keys and values of `tokens` under `adapter`, in the pool's slots [start, start + len(tokens))."""

    adapter: str | None
    tokens: list[int]
    start: int


class PrefixCache:
    """The most recently used prefixes, bounded by tokens and count. The caller frees the slots of dropped entries."""

    def __init__(self, max_tokens: int, max_entries: int = 64) -> None:
        self._max_tokens = max_tokens
        self._max_entries = max_entries
        self._entries: list[PrefixEntry] = []  # least recently used first

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def tokens(self) -> int:
        """Slots held by all entries."""
        return sum(len(entry.tokens) for entry in self._entries)

    def find(self, adapter: str | None, tokens: list[int], limit: int) -> tuple[PrefixEntry | None, int]:
        """The entry that shares the longest prefix with `tokens`, and its length (at most `limit`)."""
        best, length = None, 0
        for entry in reversed(self._entries):
            if entry.adapter == adapter:
                shared = shared_prefix(entry.tokens, tokens, limit)
                if shared > length:
                    best, length = entry, shared
        return best, length

    def touch(self, entry: PrefixEntry) -> None:
        """Mark `entry` as just used."""
        self._entries.remove(entry)
        self._entries.append(entry)

    def add(self, entry: PrefixEntry) -> list[PrefixEntry]:
        """Keep `entry`; returns the entries given up for it (perhaps `entry` itself), whose slots are to be freed."""
        size = len(entry.tokens)
        covered = any(
            known.adapter == entry.adapter and shared_prefix(known.tokens, entry.tokens, size) == size
            for known in self._entries
        )
        if not size or size > self._max_tokens or covered:
            return [entry]
        given_up = [
            known
            for known in self._entries
            if known.adapter == entry.adapter and shared_prefix(known.tokens, entry.tokens, size) == len(known.tokens)
        ]
        self._entries = [known for known in self._entries if known not in given_up]
        self._entries.append(entry)
        while self.tokens > self._max_tokens or len(self._entries) > self._max_entries:
            given_up.append(self._entries.pop(0))
        return given_up

    def evict(self, keep: PrefixEntry | None = None) -> PrefixEntry | None:
        """Drop and return the least recently used entry other than `keep`; None when there is none."""
        for entry in self._entries:
            if entry is not keep:
                self._entries.remove(entry)
                return entry
        return None

    def drop(self, adapter: str | None) -> list[PrefixEntry]:
        """Drop and return all entries of `adapter`."""
        dropped = [entry for entry in self._entries if entry.adapter == adapter]
        self._entries = [entry for entry in self._entries if entry.adapter != adapter]
        return dropped
