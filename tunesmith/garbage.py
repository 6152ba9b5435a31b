"""Python's search for garbage, fitted to processes that import large libraries and then work on little."""

from __future__ import annotations

import atexit
import gc

__all__ = ["search_rarely"]

_NEW_OBJECTS, _YOUNG, _OLDER = 50_000, 20, 20


def search_rarely() -> None:
    """Search this process for garbage after 50,000 new objects, not 700, and not once more when it ends.

    Importing torch and transformers makes half a million objects that stay; Python searched them again and again, and
    three times at the end: measured, two of the five processor seconds of a command that computes nothing.
    """
    gc.set_threshold(_NEW_OBJECTS, _YOUNG, _OLDER)
    atexit.register(gc.freeze)
