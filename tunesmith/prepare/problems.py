"""Collects what is wrong with the data, so that everything is reported at once and nothing is a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tunesmith.errors import DataError, Problem

__all__ = ["SHOWN", "Problems"]

SHOWN = 20


class Problems:
    """An accumulator of problems: keeps the first `SHOWN`, counts the rest, raises once."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[Problem] = []

    @property
    def shown(self) -> tuple[Problem, ...]:
        """The problems that are kept to be shown."""
        return tuple(self._shown)

    def add(self, problem: Problem) -> None:
        """Note one problem."""
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note several problems."""
        for problem in problems:
            self.add(problem)

    def merge(self, shown: Iterable[Problem], count: int) -> None:
        """Note `count` problems found elsewhere, of which `shown` were kept."""
        self.count += count
        self._shown = [*self._shown, *shown][:SHOWN]

    @contextmanager
    def collecting(self, file: str | None = None, line: int | None = None, within: str = "") -> Iterator[None]:
        """Catch the DataError of the block and place its problems in `file`, at `line` unless they know theirs.

        `within` is put before the problem's field: which row it is when the line alone does not say so.
        """
        try:
            yield
        except DataError as error:
            for problem in error.problems:
                field = ".".join(part for part in (within, problem.field) if part) or None
                place = problem.line if problem.line is not None else line
                self.add(replace(problem, file=problem.file or file, line=place, field=field))

    def raise_if_any(self) -> None:
        """Raise DataError with the first problems and the number of those not shown."""
        if not self.count:
            return
        many = "1 problem" if self.count == 1 else f"{self.count} problems"
        hidden = self.count - len(self._shown)
        raise DataError(
            self._shown,
            message=f"The data has {many}; nothing was prepared.",
            hint=f"... and {hidden} more. Repair these and run again to see the rest." if hidden else None,
        )
