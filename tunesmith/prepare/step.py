"""The contract of a preparation step: it drops rows for a named reason, changes them, or says what it found in them.

A step is a plugin in `tunesmith.prepare.steps`: a frozen Value whose fields are its options. It is one of two kinds.

A `RowStep` decides on each row alone. A `TableStep` decides on all rows together, but sees of each only a measure of
fixed length (a digest, a signature), so that memory grows by some bytes a row whatever the rows hold; a few rows may
be read back by their index. Both make what they need (a word list, a model) in `open`, once in each process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tunesmith.types.preference import Row

__all__ = ["Finding", "Judgement", "Outcome", "ReadsFiles", "RowStep", "RowsSeen", "TableStep"]


class Finding(NamedTuple):
    """One thing a step found in a row, kept or not: what kind (`email`, `placeholder`), and the detail to show."""

    kind: str
    detail: str = ""


class Outcome(NamedTuple):
    """What a step made of one row: its content, changed or not, or None when it is dropped for `reason`."""

    content: Row | None
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@runtime_checkable
class RowStep(Protocol):
    """A step that decides on each row alone."""

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The work on one row; paths in the options are relative to `folder` (the recipe's).

        Raises:
            DataError, RecipeError: a file or an option cannot be used.
            MissingDependency: a package is needed that is not installed; names the extra.
        """


class RowsSeen(Protocol):
    """The rows a table step judges, in file order."""

    def __len__(self) -> int:
        """Number of rows."""

    @property
    def splits(self) -> Sequence[str]:
        """The split each row's source asks for: auto, train, validation or test."""

    def where(self, index: int) -> str:
        """file:line of row `index`."""

    def content(self, index: int) -> Row:
        """What row `index` says, read back from disk: for a few rows, to verify and to show."""


class Judgement(NamedTuple):
    """What a table step made of all rows.

    `reasons` gives for each dropped index why; `findings` what it found in rows; `groups` [N] an integer for each row,
    equal for rows that must land in the same split (None: the step says nothing of that).
    """

    reasons: Mapping[int, str] = {}
    findings: Mapping[int, tuple[Finding, ...]] = {}
    groups: npt.NDArray[np.int64] | None = None


@runtime_checkable
class TableStep(Protocol):
    """A step that decides on all rows together."""

    def open(self, folder: Path) -> Callable[[Row], bytes]:
        """The measure of one row: always the same number of bytes. Raises as `RowStep.open` does."""

    def judge(self, measures: npt.NDArray[np.uint8], rows: RowsSeen) -> Judgement:
        """The verdict on all rows; `measures` [N, bytes] holds what `open`'s function gave for each."""


@runtime_checkable
class ReadsFiles(Protocol):
    """A step of either kind whose options name files, such as an evaluation set or a list of words."""

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Those files; their bytes are part of the dataset's digest. Raises DataError for one that is not there."""
