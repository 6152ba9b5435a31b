"""Being told to stop (SIGTERM on a spot machine, Ctrl-C): at once where nothing is half done, else when it is done.

A forward and backward pass changes no weight, so it is abandoned at once, however long it would have taken; an
optimizer step and the writing of a checkpoint are finished first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tunesmith.errors import Interrupted

__all__ = ["Interruption"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Turns SIGTERM and SIGINT into `Interrupted`, raised in the main thread outside `undisturbed` blocks."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._blocked = False
        self._stopping = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over both signals inside the block; elsewhere than in the main thread they stay with who has them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = [signal.signal(number, self._receive) for number in SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Finish the block first, then stop if that was asked for meanwhile."""
        before, self._blocked = self._blocked, True
        try:
            yield
        finally:
            self._blocked = before
        self._raise_if_asked()

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Inside an `undisturbed` block: work that may be abandoned at any point."""
        before, self._blocked = self._blocked, False
        try:
            self._raise_if_asked()
            yield
        finally:
            self._blocked = before

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._stopping and self._blocked:
            return  # asked again while the last checkpoint is written
        self._asked = number
        self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        if self._asked is not None and not self._blocked:
            number, self._asked, self._stopping = self._asked, None, True
            raise Interrupted(number)
