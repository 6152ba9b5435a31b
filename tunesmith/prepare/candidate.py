"""A row on its way through the steps of prepare, and what a step returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from tunesmith.prepare.step import Finding
from tunesmith.types.dataset import Example, SplitName
from tunesmith.types.preference import Row

__all__ = ["Candidate", "Dropped", "Sorted"]


@dataclass(frozen=True)
class Candidate:
    """An example, the split its source asks for, and once it is rendered the tokens of each of its sequences.

    `findings` is what steps found in it; rows of one `group` (-1: none) must land in the same split.
    """

    example: Example
    split: Literal["auto"] | SplitName
    sizes: tuple[int, ...] = ()
    trained_tokens: int = 0
    findings: tuple[Finding, ...] = ()
    group: int = -1

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(self.sizes)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return max(self.sizes, default=0)

    def changed(self, content: Row) -> Candidate:
        """The row with another content, and the id that goes with it."""
        if content is self.example.content:
            return self
        update = {"id": content.content_digest()[:16], "content": content}
        return replace(self, example=self.example.model_copy(update=update))

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
