"""Who does the work on rows: this process, several processes of this machine, or the workers of a Ray cluster.

Whoever does it, results come back in the order of the chunks.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from tunesmith.errors import TunesmithError
from tunesmith.garbage import search_rarely
from tunesmith.prepare.work import Chunk, Work, Worked, Worker

__all__ = ["CHUNK_ROWS", "LARGE_BYTES", "MOST_PROCESSES", "Workers", "usual_processes"]

CHUNK_ROWS = 256
"""Rows in a chunk: enough that sending them costs little beside the work on them."""

LARGE_BYTES = 16 << 20
"""Sources below this size are prepared sooner than a second process has started."""

MOST_PROCESSES = 2
_AHEAD = 3  # chunks that wait for each process

_OPENED: ContextVar[tuple[Path, Worker]] = ContextVar("opened")


def usual_processes(source_bytes: int) -> int:
    """Processes for sources of this size where nobody chose a number."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0))) if source_bytes >= LARGE_BYTES else 1


class Workers:
    """`processes` of this machine; 1 is this process itself. Started with the first work, ended by `close`."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def results(self, work: Work, chunks: Iterable[Chunk], folder: Path) -> Iterator[Worked]:
        """What became of each chunk, in their order; few chunks are in memory at a time.

        The work is sent to the processes once, through a file in `folder`.

        Raises what the work raises, and TunesmithError when a process was killed.
        """
        if self.processes == 1:
            yield from map(Worker(work), chunks)
            return
        self._pool = self._pool or ProcessPoolExecutor(
            self.processes, mp_context=get_context("spawn"), initializer=_begin
        )
        order = Path(tempfile.mkdtemp(dir=folder), "work.pickle")
        order.write_bytes(pickle.dumps(work))
        waiting: deque[Future[Worked]] = deque()
        try:
            for chunk in chunks:
                waiting.append(self._pool.submit(_carry_out, order, chunk))
                if len(waiting) > _AHEAD * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            hint = "It may have run out of memory. Prepare with --processes 1, or give the machine more."
            raise TunesmithError("A process that prepared rows was killed.", hint=hint) from error

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _begin() -> None:
    """A new process: it leaves interruptions to its parent, and ends when that is gone."""
    search_rarely()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _carry_out(order: Path, chunk: Chunk) -> Worked:
    """One chunk; the work is opened with its first one, so that its errors reach the parent."""
    known = _OPENED.get(None)
    if known is None or known[0] != order:
        known = (order, Worker(pickle.loads(order.read_bytes())))
        _OPENED.set(known)
    return known[1](chunk)
