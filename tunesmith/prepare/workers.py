"""Who does the work on rows: this process, several processes of this machine, or the workers of a Ray cluster.

Whoever does it, results come back in the order of the chunks.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from tunesmith.errors import TunesmithError
from tunesmith.prepare.work import Chunk, Work, Worked, Worker

__all__ = ["CHUNK_ROWS", "LARGE_BYTES", "MOST_PROCESSES", "Workers", "usual_processes"]

CHUNK_ROWS = 256
"""Rows in a chunk: enough that sending them costs little beside the work on them."""

LARGE_BYTES = 16 << 20
"""Sources below this size are prepared sooner than a second process has started."""

MOST_PROCESSES = 2
_AHEAD = 3  # chunks that wait for each process

_WORK: ContextVar[Work] = ContextVar("work")
_WORKER: ContextVar[Worker] = ContextVar("worker")


def usual_processes(source_bytes: int) -> int:
    """Processes for sources of this size where nobody chose a number."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0))) if source_bytes >= LARGE_BYTES else 1


class Workers:
    """`processes` of this machine; 1 is this process itself."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes

    def results(self, work: Work, chunks: Iterable[Chunk]) -> Iterator[Worked]:
        """What became of each chunk, in their order; few chunks are in memory at a time.

        Raises what the work raises, and TunesmithError when a process was killed.
        """
        if self.processes == 1:
            yield from map(Worker(work), chunks)
            return
        pool = ProcessPoolExecutor(
            self.processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(work,)
        )
        waiting: deque[Future[Worked]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(_carry_out, chunk))
                if len(waiting) > _AHEAD * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            hint = "It may have run out of memory. Prepare with --processes 1, or give the machine more."
            raise TunesmithError("A process that prepared rows was killed.", hint=hint) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(work: Work) -> None:
    """A new process: it leaves interruptions to its parent, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORK.set(work)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _carry_out(chunk: Chunk) -> Worked:
    """One chunk, by this process's worker; opened with the first one, so that its errors reach the parent."""
    worker = _WORKER.get(None)
    if worker is None:
        worker = Worker(_WORK.get())
        _WORKER.set(worker)
    return worker(chunk)
