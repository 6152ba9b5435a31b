"""The work on rows by the workers of a Ray cluster, as a map of Ray Data over chunks of rows.

Results come back in the order of the chunks, so the dataset has the bytes it has on one machine. Steps that read files
or models need them on every host of the cluster, under the same path.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from tunesmith.errors import MissingDependency, TunesmithError
from tunesmith.prepare.work import Chunk, Work, Worked, Worker
from tunesmith.prepare.workers import Workers

__all__ = ["RayWorkers"]

_WINDOW = 512  # chunks that are on the cluster at a time


class RayWorkers(Workers):
    """`processes` workers of the cluster at RAY_ADDRESS, or of a local one that is started and ended with them.

    Raises MissingDependency when Ray Data is not installed.
    """

    def __init__(self, processes: int = 2) -> None:
        super().__init__(processes)
        if any(importlib.util.find_spec(name) is None for name in ("ray", "pandas", "pyarrow")):
            raise MissingDependency("--ray needs the package 'ray[data]'.", hint="pip install 'tunesmith[ray]'")
        self._started = False

    def results(self, work: Work, chunks: Iterable[Chunk], folder: Path) -> Iterator[Worked]:
        """What became of each chunk, in their order.

        Raises what the work raises, and TunesmithError when the cluster cannot do it.
        """
        import ray

        self._start()
        Worker(work)  # what cannot be opened is said here, not by every worker
        order, numbered = ray.put(pickle.dumps(work)), zip(count(), chunks, strict=False)
        while window := [{"number": n, "chunk": pickle.dumps(chunk)} for n, chunk in islice(numbered, _WINDOW)]:
            data = ray.data.from_items(window, override_num_blocks=min(len(window), 4 * self.processes))
            done = data.map(
                _OnRay,
                fn_constructor_args=(order,),
                compute=ray.data.ActorPoolStrategy(size=self.processes),
                num_cpus=1,
            )
            try:
                taken = sorted(done.take_all(), key=lambda item: int(item["number"]))
            except ray.exceptions.RayError as error:
                raise TunesmithError(f"The Ray cluster could not prepare the rows: {error}") from error
            yield from (_worked(item["worked"]) for item in taken)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            import ray

            ray.shutdown()
            self._started = False

    def _start(self) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level=logging.WARNING, configure_logging=True)
            ray.data.DataContext.get_current().enable_progress_bars = False
            self._started = True


def _worked(outcome: bytes) -> Worked:
    """The result that a worker sent; raises the error it sent."""
    found = pickle.loads(outcome)
    if isinstance(found, Exception):
        raise found
    return found


class _OnRay:
    """A worker of the cluster."""

    def __init__(self, order: Any) -> None:
        import ray

        self._worker = Worker(pickle.loads(ray.get(order)))

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            outcome: object = self._worker(pickle.loads(item["chunk"]))
        except TunesmithError as error:
            outcome = error
        return {"number": item["number"], "worked": pickle.dumps(outcome)}
