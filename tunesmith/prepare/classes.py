"""Which answers rows have, when they have few: the labels of a classification, or the two judgements."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.labels import are_labels
from tunesmith.prepare.record import SHAPES
from tunesmith.prepare.rows import Rows
from tunesmith.types.dataset import Example
from tunesmith.types.preference import Labelled

__all__ = ["Classes", "find_classes", "find_judgements"]


class Classes(NamedTuple):
    """The sorted names of the classes, () when there are none, and the place of each row's class among them [N]."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    def counts(self, indices: npt.NDArray[np.int64]) -> dict[str, int]:
        """How many of the rows at `indices` are of each class; classes without rows are left out."""
        if not self.names:
            return {}
        counted = np.bincount(self.codes[indices], minlength=len(self.names)).tolist()
        return {name: count for name, count in zip(self.names, counted, strict=True) if count}


def find_classes(rows: Rows, indices: npt.NDArray[np.int64]) -> Classes:
    """The labels of the rows at `indices` when they are a classification (see `are_labels`).

    Two answers that are compared or judged are no labels.
    """
    shapes = set(rows.records["shape"][indices].tolist())
    if shapes - {SHAPES.index("conversation"), SHAPES.index("prompt")}:
        return Classes((), np.zeros(0, np.int64))
    return _distinct(rows, indices, "reference", lambda example: example.conversation.reference)


def find_judgements(rows: Rows, indices: npt.NDArray[np.int64]) -> Classes:
    """Of judged answers, which are wanted; of other rows nothing."""
    if not (rows.records["shape"][indices] == SHAPES.index("labelled")).all():
        return Classes((), np.zeros(0, np.int64))

    def judgement(example: Example) -> str:
        return "wanted" if isinstance(example.content, Labelled) and example.content.label else "unwanted"

    return _distinct(rows, indices, "answer", judgement, any_count=True)


def _distinct(
    rows: Rows,
    indices: npt.NDArray[np.int64],
    column: str,
    name: Callable[[Example], str],
    *,
    any_count: bool = False,
) -> Classes:
    """Classes by the keys in `column`; their names are read from one row of each."""
    keys, first, inverse = np.unique(rows.records[column][indices], return_index=True, return_inverse=True)
    if not any_count and not are_labels(len(keys), len(indices)):
        return Classes((), np.zeros(0, np.int64))
    named = [name(rows.example(int(indices[each]))) for each in first]
    if not all(named):
        return Classes((), np.zeros(0, np.int64))
    order = sorted(range(len(named)), key=named.__getitem__)
    places = np.empty(len(named), np.int64)
    places[order] = np.arange(len(named))
    return Classes(tuple(named[each] for each in order), places[inverse])
