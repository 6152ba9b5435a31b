"""A watchdog in every process: who fell silent, and what do the others wait for?

Each process gives a sign of life about once a second, from a thread of its own, with the place where its main thread
is. A process that is stopped, frozen or cut off gives none; after `silence_seconds` every other one names it, with the
collective that waits for it, and ends. A process that is merely busy for long keeps giving signs and is left in peace.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch.distributed as dist

from tunesmith.train.parallel.place import Place
from tunesmith.train.parallel.reports import Report, send

__all__ = ["Watch", "connect"]

END_CODE = 1
STORE = "Rank 0 (or torchrun's agent), which keeps the run's store,"


def connect(place: Place, seconds: float, *, hosts: bool = False) -> dist.TCPStore:
    """A connection to the run's store, whose requests give up after `seconds`; `hosts` opens the store itself."""
    return dist.TCPStore(
        place.address,
        place.port,
        is_master=hosts,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
    )


@dataclass
class _Seen:
    """The latest sign of another process, and when it came."""

    sign: str = ""
    when: float = 0.0


class Watch:
    """Gives signs and looks for those of others. `at` is where the main thread is, `waits` the collective it is in."""

    def __init__(self, place: Place, silence_seconds: float) -> None:
        self.at, self.waits = "starting", ""
        self._place, self._silence = place, silence_seconds
        self._beat = min(1.0, silence_seconds / 5)
        self._parent = os.getppid()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tunesmith-watch", daemon=True)
        self._seen = {rank: _Seen() for rank in range(place.size) if rank != place.rank}

    def start(self) -> None:
        """Begin to give signs and to look for the others'."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching: the work is done, or this process fails on its own."""
        self._ended.set()

    def seen(self, ranks: Iterable[int] | None = None) -> str:
        """Where other processes (`ranks`, else all) were at their latest sign, in words."""
        chosen = self._seen if ranks is None else ranks
        places = {rank: self._seen[rank].sign.partition(" ")[2] or "the start" for rank in chosen}
        return "; ".join(f"rank {rank} was last seen at {place}" for rank, place in places.items())

    def _run(self) -> None:
        try:
            self._watch()
        except RuntimeError as error:
            if not self._ended.is_set():  # a connection that breaks tells of an end with another cause
                reason = str(error).partition("\n")[0]
                self._exit("lost", f"{STORE} is gone: {reason}.{self._waiting}")

    def _watch(self) -> None:
        store, count, slept = connect(self._place, self._silence), 0, time.monotonic()
        while not self._ended.wait(self._beat):
            if self._place.reports is not None and os.getppid() != self._parent:
                os._exit(END_CODE)  # the launcher is gone: nobody is left to tell
            if time.monotonic() - slept > self._beat + self._silence / 2:
                for seen in self._seen.values():
                    seen.when = time.monotonic()  # it was this process that was away
            count += 1
            with self._answered():
                store.set(f"sign/{self._place.rank}", f"{count} {self.at}{f', in: {self.waits}' if self.waits else ''}")
                self._look(store)
            silent = [rank for rank, seen in self._seen.items() if seen.sign and self._overdue(seen)]
            if silent and not self._ended.is_set():
                self._name(silent)
            slept = time.monotonic()

    def _look(self, store: dist.TCPStore) -> None:
        for rank, seen in self._seen.items():
            key = f"sign/{rank}"
            if store.check([key]):
                sign = store.get(key).decode()
                if sign != seen.sign:
                    seen.sign, seen.when = sign, time.monotonic()

    def _overdue(self, seen: _Seen) -> bool:
        return time.monotonic() - seen.when > self._silence

    def _name(self, silent: list[int]) -> None:
        who = " and ".join(f"rank {rank}" for rank in silent).capitalize()
        self._exit(
            "stalled", f"{who} gave no sign of life for {self._silence:g} s; {self.seen(silent)}.{self._waiting}"
        )

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Around requests to the store, which wait for ever when the process that keeps it is frozen."""
        done = threading.Event()

        def judge() -> None:
            # The second wait is for a process that was away itself.
            if not done.wait(self._silence) and not done.wait(self._beat) and not self._ended.is_set():
                self._exit("stalled", f"{STORE} gave no sign of life for {self._silence:g} s.{self._waiting}")

        threading.Thread(target=judge, daemon=True).start()
        try:
            yield
        finally:
            done.set()

    @property
    def _waiting(self) -> str:
        return f" Rank {self._place.rank} waits for it in: {self.waits} ({self.at})." if self.waits else ""

    def _exit(self, kind: Literal["stalled", "lost"], message: str) -> None:
        """End this process from here: its main thread may be inside a collective that never returns."""
        hint = "The last checkpoint is kept; the same command resumes. train.parallel.silence_seconds is the patience."
        send(Report(rank=self._place.rank, kind=kind, message=message, hint=hint), self._place.reports)
        os._exit(END_CODE)
