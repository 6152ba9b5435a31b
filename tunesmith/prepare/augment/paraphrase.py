"""Says the same in other words."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.prepare.augmentation import Rewriting

__all__ = ["Paraphrase"]


class Paraphrase(Rewriting):
    """The input (or the answer) in other words."""

    instruction: ClassVar[str] = (
        "Rewrite the text that the user gives in other words. Keep its meaning, language, names and numbers. "
        "Reply with the new text alone."
    )
