"""Trials side by side on the workers of a Ray cluster, which share home, recipe and the database of the studies.

This process draws the trials; each worker carries out one at a time. A worker that dies is started again and goes on
with its trial at the last checkpoint. Which values are drawn depends on which trials have ended, so on their speed.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from typing import Any

from tunesmith.errors import MissingDependency, TunesmithError
from tunesmith.progress import Silent
from tunesmith.search.searching import Order, Searching
from tunesmith.settings import Settings
from tunesmith.threads import limit_threads

__all__ = ["RayTrials"]

RESTARTS = 3


class RayTrials:
    """Carries out trials on `workers` workers of the cluster at RAY_ADDRESS, or of one made here for this search.

    Raises MissingDependency when Ray is not installed.
    """

    def __init__(self, workers: int, settings: Settings) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingDependency("--ray needs the package 'ray'.", hint="pip install 'tunesmith[ray]'")
        self.workers, self.settings = workers, settings

    def __call__(self, searching: Searching, trials: int) -> None:
        """Carry out trials until `trials` have ended. Raises TunesmithError when a worker died too often."""
        import ray

        ray.init(log_to_driver=False, logging_level=logging.WARNING, configure_logging=True)
        kind = ray.remote(max_restarts=RESTARTS, max_task_retries=RESTARTS)(_Worker)
        arguments = (tuple(searching.order), self.settings.model_dump_json(exclude={"admin_key"}))
        try:
            idle = [kind.remote(*arguments) for _ in range(self.workers)]
            busy: dict[Any, Any] = {}
            numbers = _Numbers(searching, trials, busy)
            while True:
                while idle and (number := next(numbers, None)) is not None:
                    worker = idle.pop()
                    searching.progress.say(f"trial {number}")
                    busy[worker.carry_out.remote(number)] = worker
                if not busy:
                    return
                (done, *_), _ = ray.wait(list(busy), num_returns=1)
                idle.append(busy.pop(done))
                ray.get(done)
        except ray.exceptions.RayError as error:
            raise TunesmithError(f"A worker of Ray could not carry out its trial: {error}") from error
        finally:
            ray.shutdown()


class _Numbers:
    """Trials to carry out: those left behind, then new ones as long as ended and running ones are too few."""

    def __init__(self, searching: Searching, trials: int, busy: dict[Any, Any]) -> None:
        self._searching, self._trials, self._busy = searching, trials, busy
        self._left = searching.left_behind()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self._left:
            return self._left.pop(0)
        if self._searching.finished() + len(self._busy) >= self._trials:
            raise StopIteration
        return self._searching.draw()


class _Worker:
    """What a Ray worker holds: its own view of the search."""

    def __init__(self, order: tuple[Any, ...], settings: str) -> None:
        own = Settings.model_validate_json(settings)
        limit_threads(own.threads)
        self._searching = Searching(Order(*order), own, Silent())

    def carry_out(self, number: int) -> int:
        """Carry out trial `number`."""
        self._searching.carry_out(number)
        return number
