"""How much time may still be spent, and what was left out for want of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tunesmith.decide.evidence import LeftOut
from tunesmith.page.wording import duration

__all__ = ["Budget"]


class Budget:
    """`minutes` of wall time (0: no end) from now on; `clock` gives seconds."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._seconds = 60.0 * minutes if minutes else float("inf")
        self._left_out: list[LeftOut] = []
        self._per_row: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was not allowed, in order."""
        return tuple(self._left_out)

    def allows(self, what: str, seconds: float, share: float = 1.0) -> bool:
        """Whether `what`, which takes about so many seconds, still fits into this share of the budget (the rest is kept
        for what comes later); if not it is noted as left out.
        """
        left = share * self._seconds - self.spent
        if left >= seconds and left > 0:
            return True
        part = "" if share == 1.0 else f" {share:.0%} of"
        why = f"it takes about {duration(seconds)}, and {duration(max(0.0, left))} of{part} the budget are left"
        self._left_out.append(LeftOut(what=what, why=why))
        return False

    def leave_out(self, what: str, why: str) -> None:
        """Note what cannot be measured for another reason than time."""
        self._left_out.append(LeftOut(what=what, why=why))

    def took(self, way: str, rows: int, seconds: float) -> None:
        """Learn from a measurement how long a row takes when it is asked in this way."""
        self._per_row[way] = seconds / rows

    def answers(self, rows: int, way: str = "") -> float:
        """Seconds that answers to `rows` rows will take: as that way did before, else as ways do in the mean."""
        known = self._per_row.values()
        return rows * self._per_row.get(way, sum(known) / max(1, len(known)))
