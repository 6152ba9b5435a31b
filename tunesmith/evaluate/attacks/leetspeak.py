"""leetspeak: letters of the request are replaced by digits that look alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tunesmith.evaluate.attack import Attack, Disguise
from tunesmith.types.conversation import Message

__all__ = ["Leetspeak"]

_DIGITS = str.maketrans("aeiostAEIOST", "431057431057")


class Leetspeak(Attack):
    """Character substitution (Wei et al. 2023, arXiv:2307.02483): "elite" becomes "3l173"."""

    meaning: ClassVar[str] = "letters of the request are replaced by digits that look alike (arXiv:2307.02483)"

    def disguises(self, request: str) -> Iterator[Disguise]:
        """The request itself, letter by letter."""
        yield Disguise((Message(role="user", content=request.translate(_DIGITS)),))
