"""Which requests run, where their keys and values lie, and which tokens the next step computes. Knows no tensors.

Continuous batching: each step takes one token of every request that is generating, then chunks of prompts up to a token
budget, oldest request first. A request is let in when a contiguous span for its whole length is free, so a running
request can never run out of room; entries of the prefix cache make way for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tunesmith.engine.prefixes import PrefixCache, PrefixEntry, shared_prefix
from tunesmith.engine.spans import SpanAllocator

__all__ = ["Chunk", "Limits", "Scheduler", "Sequence"]

# Copying fewer keys than this saves nothing over computing them with the rest of the prompt.
_WORTH_SHARING = 16


class Limits(NamedTuple):
    """Bounds: requests at once, tokens of a step, slots of the pool, slots the prefix cache may hold."""

    max_running: int
    step_tokens: int
    kv_tokens: int
    prefix_tokens: int


@dataclass(eq=False)
class Sequence:
    """A request's tokens so far. `computed` of them have keys and values at pool slots [start, start + computed).

    room: slots it may need in all. logits_from: the first position whose logits are wanted. reused: tokens whose keys
    and values were copied.
    """

    tokens: list[int]
    room: int
    logits_from: int
    adapter: str | None = None
    computed: int = 0
    start: int = -1
    reused: int = 0

    @property
    def pending(self) -> int:
        """Tokens that are known but not computed yet."""
        return len(self.tokens) - self.computed


class Chunk(NamedTuple):
    """The next `length` tokens of `sequence` to compute."""

    sequence: Sequence
    length: int


@dataclass
class Scheduler:
    """Waiting and running sequences, spans of the pool, prefixes. `copy(source, target, length)` copies slots."""

    limits: Limits
    copy: Callable[[int, int, int], None]
    waiting: deque[Sequence] = field(default_factory=deque)
    running: list[Sequence] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spans = SpanAllocator(self.limits.kv_tokens)
        self.prefixes = PrefixCache(self.limits.prefix_tokens)

    def admit(self) -> None:
        """Let waiting sequences in, in order, while there is room.

        A sequence whose beginning another one is just computing waits for that (a few steps at most) and copies it.
        """
        for sequence in list(self.waiting):
            if len(self.running) >= self.limits.max_running:
                return
            entry, shared = self.prefixes.find(sequence.adapter, sequence.tokens, sequence.logits_from)
            source = entry.start if entry else -1
            if self.limits.prefix_tokens:
                peer, from_peer, soon = self._peer(sequence)
                if soon >= max(shared, from_peer) + _WORTH_SHARING:
                    continue
                if peer is not None and from_peer > shared:
                    entry, source, shared = None, peer.start, from_peer
            start = self._take(sequence.room, keep=entry)
            if start is None and not self.running:
                # Nothing will be given back, so the entry to copy from has to go as well.
                entry, shared = None, 0
                start = self._take(sequence.room, keep=None)
            if start is None:
                return
            if shared:
                self.copy(source, start, shared)
            if entry is not None:
                self.prefixes.touch(entry)
            sequence.start, sequence.computed, sequence.reused = start, shared, shared
            self.waiting.remove(sequence)
            self.running.append(sequence)

    def plan(self) -> list[Chunk]:
        """The next step: one token of each generating sequence, then prompts in order of arrival within the budget."""
        ordered = sorted(self.running, key=lambda sequence: sequence.pending > 1)
        budget, chunks = self.limits.step_tokens, []
        for sequence in ordered:
            length = min(sequence.pending, budget)
            if length:
                chunks.append(Chunk(sequence, length))
                budget -= length
        return chunks

    def retire(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a sequence out; its keys and values stay as a prefix when `keep`, else its slots are free again."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        if sequence not in self.running:
            return
        self.running.remove(sequence)
        kept = sequence.computed if keep else 0
        self.spans.give(sequence.start + kept, sequence.room - kept)
        if kept:
            entry = PrefixEntry(sequence.adapter, sequence.tokens[:kept], sequence.start)
            self._free(self.prefixes.add(entry))

    def forget(self, adapter: str | None) -> None:
        """Drop the prefixes of an adapter."""
        self._free(self.prefixes.drop(adapter))

    def _peer(self, sequence: Sequence) -> tuple[Sequence | None, int, int]:
        """The running sequence with the most computed tokens in common, how many, and the most there will be soon."""
        best, now, soon = None, 0, 0
        for other in self.running:
            if other.adapter != sequence.adapter:
                continue
            shared = shared_prefix(other.tokens, sequence.tokens, sequence.logits_from)
            soon = max(soon, shared)
            if min(shared, other.computed) > now:
                best, now = other, min(shared, other.computed)
        return best, now, soon

    def _take(self, length: int, keep: PrefixEntry | None) -> int | None:
        """A free span, evicting prefixes until there is one; None when even that does not help."""
        start = self.spans.take(length)
        kept = len(keep.tokens) if keep else 0
        if start is None and self.spans.free + self.prefixes.tokens - kept < length:
            return None  # giving up prefixes would not help
        while start is None:
            evicted = self.prefixes.evict(keep)
            if evicted is None:
                return None
            self._free([evicted])
            start = self.spans.take(length)
        return start

    def _free(self, entries: list[PrefixEntry]) -> None:
        for entry in entries:
            self.spans.give(entry.start, len(entry.tokens))
