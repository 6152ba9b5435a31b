"""search: draw and carry out trials until there are as many as were asked for. Killed and started again, it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tunesmith.progress import Progress
from tunesmith.search.report import SearchReport
from tunesmith.search.searching import Order, Searching
from tunesmith.settings import Settings
from tunesmith.store.values import write_value
from tunesmith.train.memory import short_collections
from tunesmith.train.settled import only_process

__all__ = ["FOLDER", "alone", "search"]

FOLDER = "searches"
Work = Callable[[Searching, int], None]
"""(the search, how many trials there shall be in all) -> None; carries them out"""


def search(
    order: Order, trials: int, settings: Settings, progress: Progress, work: Work | None = None
) -> tuple[SearchReport, Path]:
    """The study of `order` with `trials` ended trials, those of earlier calls among them, and its report's file.

    Trials that a killed process left are finished first, each as itself: its training goes on at its last checkpoint.
    Raises what `Searching` raises, TrainingFailed while another process carries out the same search, Interrupted.
    """
    searching = Searching(order, settings, progress)
    place = settings.home / FOLDER / searching.name
    with closing(searching), _owned(place), short_collections():
        searching.begin()
        (work or alone)(searching, trials)
        report = searching.report()
    write_value(place / "search.json", report)
    return report, place / "search.json"


def alone(searching: Searching, trials: int) -> None:
    """One trial after the other in this process."""
    for number in searching.left_behind():
        searching.progress.say(f"trial {number} goes on")
        searching.carry_out(number)
    while searching.finished() < trials:
        number = searching.draw()
        searching.progress.say(f"trial {number}")
        searching.carry_out(number)


@contextmanager
def _owned(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with only_process(place):
        yield
