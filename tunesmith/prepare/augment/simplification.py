"""Says the same more simply."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.prepare.augmentation import Rewriting

__all__ = ["Simplification"]


class Simplification(Rewriting):
    """The input (or the answer) in short and simple words."""

    instruction: ClassVar[str] = (
        "Rewrite the text that the user gives in short, simple words and sentences. Keep its meaning, language, names "
        "and numbers. Reply with the new text alone."
    )
