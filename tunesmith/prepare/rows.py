"""All rows of a preparation: their lines on disk, a record of each in memory, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.record import PLACES, RECORD, Records
from tunesmith.prepare.rowfile import RowFile
from tunesmith.prepare.step import Finding
from tunesmith.types.conversation import Conversation
from tunesmith.types.dataset import Example
from tunesmith.types.preference import Row

__all__ = ["Conversations", "RowNote", "Rows", "Seen"]

Indices = npt.NDArray[np.int64]


class RowNote(NamedTuple):
    """What `step` found in the row at `row`."""

    row: int
    step: str
    finding: Finding


class Rows:
    """The rows in file order. `records` [N] of `RECORD`; `reasons` names the codes of dropped rows, from 1.

    `details` says more of single dropped rows; `notes` is a file of findings; `groups` holds, for each step that said
    so, which rows belong together ([N], -1: with no other); `read` counts the rows of each file as they were read.
    """

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self.read = [0] * len(self.files)
        self.records: Records = np.zeros(0, RECORD)
        self.reasons: list[str] = []
        self.details: dict[int, str] = {}
        self.groups: list[Indices] = []
        self.lines = RowFile(folder / "rows-0.jsonl")
        self._notes = RowFile(folder / "notes.jsonl")
        self._folder = folder
        self._generation = 0

    def __len__(self) -> int:
        return len(self.records)

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """[N] whether the row is not dropped."""
        return np.asarray(self.records["reason"] == 0)

    def close(self) -> None:
        """Close and delete the files."""
        self.lines.remove()
        self._notes.remove()

    def code(self, reason: str) -> int:
        """The code of `reason`."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1

    def reason(self, index: int) -> str:
        """Why the row was dropped."""
        return self.reasons[int(self.records["reason"][index]) - 1]

    def where(self, index: int) -> str:
        """file:line of the row."""
        record = self.records[index]
        return f"{self.files[record['source']]}:{record['line']}"

    def drop(self, indices: npt.NDArray[np.int64], reason: str) -> None:
        """Drop the rows at `indices`, none of which is dropped yet."""
        if len(indices):
            self.records["reason"][indices] = self.code(reason)

    def note(self, notes: Iterable[RowNote]) -> None:
        """Keep findings, on disk."""
        self._notes.extend(
            json.dumps([row, step, finding.kind, finding.detail]).encode() + b"\n" for row, step, finding in notes
        )

    def notes(self) -> Iterator[RowNote]:
        """All findings, in the order in which they were made."""
        for line in self._notes.lines(range(len(self._notes))):
            row, step, kind, detail = json.loads(line)
            yield RowNote(row, step, Finding(kind, detail))

    def example(self, index: int) -> Example:
        """The row at `index`, read back from disk."""
        return Example.model_validate_json(self.lines.line(index))

    def next_lines(self) -> RowFile:
        """A new file for the lines of the next pass."""
        self._generation += 1
        return RowFile(self._folder / f"rows-{self._generation}.jsonl")


class Seen:
    """The rows that are kept, as a table step sees them."""

    def __init__(self, rows: Rows, indices: Indices) -> None:
        self._rows, self._indices = rows, indices
        self._splits = [PLACES[code] for code in rows.records["split"][indices].tolist()]

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def splits(self) -> Sequence[str]:
        """The split each row's source asks for."""
        return self._splits

    def where(self, index: int) -> str:
        """file:line of row `index`."""
        return self._rows.where(int(self._indices[index]))

    def content(self, index: int) -> Row:
        """What row `index` says."""
        return self._rows.example(int(self._indices[index])).content


class Conversations(Sequence[Conversation]):
    """All conversations of the rows at `indices`, read back from disk when they are asked for."""

    def __init__(self, rows: Rows, indices: Indices) -> None:
        self._rows, self._indices = rows, indices
        self._each = len(rows.example(int(indices[0])).content.conversations) if len(indices) else 1

    def __len__(self) -> int:
        return len(self._indices) * self._each

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        row, place = divmod(range(len(self))[index], self._each)
        return self._rows.example(int(self._indices[row])).content.conversations[place]
