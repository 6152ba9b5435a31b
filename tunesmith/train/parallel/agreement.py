"""Being told to stop, on several processes: all of them stop after the same step, or their sums would never meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tunesmith.errors import Interrupted
from tunesmith.train.interruption import Interruption

__all__ = ["AgreedInterruption"]


class AgreedInterruption(Interruption):
    """Inside `together` a signal is only noted; it takes effect at the end of the `undisturbed` block in which all
    processes heard of it (`agree`). Outside it acts at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._together = False
        self._decided: int | None = None

    @property
    def asked(self) -> int | None:
        """The signal that this process got and that has not taken effect."""
        return self._asked

    @contextmanager
    def together(self) -> Iterator[None]:
        """Note signals inside the block, act on them when all processes agreed."""
        self._together = True
        try:
            yield
        finally:
            self._together = False

    def agree(self, asked: Sequence[int | None]) -> None:
        """Take note of what each process was asked, in the order of their ranks: the first signal counts."""
        self._decided = next((number for number in asked if number is not None), self._decided)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Finish the block first, then stop if that was agreed."""
        if not self._together:
            with super().undisturbed():
                yield
            return
        yield
        if self._decided is not None and not self._stopping:
            self._stopping = True
            raise Interrupted(self._decided)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Inside `together` nothing is broken off: the others would wait for this process."""
        if not self._together:
            with super().breakable():
                yield
            return
        yield

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._together:
            self._asked = self._asked or number
        else:
            super()._receive(number, frame)
