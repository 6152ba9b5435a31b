"""Says the same with some words replaced by synonyms."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.prepare.augmentation import Rewriting

__all__ = ["Synonyms"]


class Synonyms(Rewriting):
    """The input (or the answer) with a few words replaced by synonyms."""

    instruction: ClassVar[str] = (
        "Replace a few words of the text that the user gives by synonyms and change nothing else. "
        "Reply with the new text alone."
    )
