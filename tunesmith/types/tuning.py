"""Several adapters trained on one base in one process: what is asked for, and what came out."""

from __future__ import annotations

from typing import Any

from tunesmith.types.base import Value
from tunesmith.types.recipe import Recipe
from tunesmith.types.run import RunRecord

__all__ = ["GridPoint", "Reuse", "TuneReport", "Tuned"]


class GridPoint(Value):
    """One combination of a grid: the options that were chosen, by dotted field, and the recipe with them."""

    options: dict[str, Any]
    recipe: Recipe


class Reuse(Value):
    """Something that one run made and `times` later ones were given; `seconds` is what making it had taken, each time
    it was not made again.
    """

    what: str
    times: int
    seconds: float


class Tuned(Value):
    """What came of one grid point: the record of its run, or why there is none. `seconds` is all the time it took now,
    next to nothing for a run that was finished before.
    """

    options: dict[str, Any]
    run_id: str
    run: RunRecord | None
    failure: str | None
    seconds: float


class TuneReport(Value):
    """All grid points in the order they were asked for. `best` is the run with the lowest validation loss; None where
    validation losses are missing or do not compare, and `choice` says in words how it was chosen or why not.
    """

    points: tuple[Tuned, ...]
    best: str | None
    choice: str
    shared: tuple[Reuse, ...]
    seconds: float

    @property
    def failed(self) -> int:
        """Points without a finished run."""
        return sum(point.run is None for point in self.points)
