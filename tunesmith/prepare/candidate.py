"""A row on its way through the steps of prepare, and what a step returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tunesmith.types.dataset import Example, SplitName

__all__ = ["Candidate", "Dropped", "Sorted"]


@dataclass(frozen=True)
class Candidate:
    """An example, the split its source asks for, and once it is rendered the tokens of each of its sequences."""

    example: Example
    split: Literal["auto"] | SplitName
    sizes: tuple[int, ...] = ()
    trained_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(self.sizes)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return max(self.sizes, default=0)

    @property
    def where(self) -> str:
        """file:line of the row."""
        return f"{self.example.source}:{self.example.line}"


class Dropped(NamedTuple):
    """A row that a step left out, and the named reason."""

    candidate: Candidate
    reason: str


class Sorted(NamedTuple):
    """What a step did with its rows: `kept` in their order, `dropped` in theirs; together they are all rows."""

    kept: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
