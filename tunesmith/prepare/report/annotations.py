"""Who judged which item how, read from the rows' own fields, and what is left to decide.

A row tells its annotator in the field `annotator`; rows about the same subject (prompt, or prompt and answers that are
judged) are then one item. Or one row tells all of them in `annotations`, an object of annotator -> label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

from tunesmith.errors import DataError, Problem
from tunesmith.grade.agreement import cohen_kappa, krippendorff_alpha
from tunesmith.prepare.content import subject_key
from tunesmith.prepare.report.texts import asked, said
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Agreement", "Annotations", "Disputed", "PairAgreement"]

ANNOTATOR, ANNOTATIONS = "annotator", "annotations"


class PairAgreement(Value):
    """Cohen's kappa of two annotators over the items that both judged."""

    first: str
    second: str
    items: int
    equal: float
    kappa: float | None
    standard_error: float | None


class Disputed(Value):
    """An item on which annotators differ; `majority` is the label most gave, None when two tie; `places` file:line."""

    text: str
    labels: dict[str, str]
    majority: str | None
    places: tuple[str, ...]


class Agreement(Value):
    """How far the annotators agree. `annotators` counts each one's items, `judged_twice` the items with two labels or
    more, `repeated` the labels that an annotator gave to an item already labelled (not counted). `disputed` is the
    adjudication list, the least agreed first.
    """

    annotators: dict[str, int]
    judged_twice: int
    alpha: float | None
    pairs: tuple[PairAgreement, ...]
    repeated: int
    disputed: tuple[Disputed, ...]


class _Item(NamedTuple):
    text: str
    labels: dict[str, str]
    places: list[str]


class Annotations:
    """Collects the annotations of rows as they pass; rows without any cost nothing."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._repeated = 0

    def add(self, content: Row, source: str, line: int) -> None:
        """Note what the row says of its annotators.

        Raises:
            DataError: the field `annotations` is no object of annotator -> label.
        """
        for annotator, label in _labels(content, source, line).items():
            key = subject_key(content)
            item = self._items.setdefault(key, _Item(asked(content), {}, []))
            if annotator in item.labels:
                self._repeated += 1
                continue
            item.labels[annotator] = label
            item.places.append(f"{source}:{line}")

    def agreement(self) -> Agreement | None:
        """The agreement over all rows that were added; None when none of them carried an annotator."""
        items = tuple(self._items.values())
        if not items:
            return None
        counts = Counter(name for item in items for name in item.labels)
        several = [item for item in items if len(item.labels) > 1]
        disputed = [_disputed(item) for item in several if len(set(item.labels.values())) > 1]
        return Agreement(
            annotators=dict(sorted(counts.items())),
            judged_twice=len(several),
            alpha=krippendorff_alpha(list(item.labels.values()) for item in several),
            pairs=tuple(_pairs(several, sorted(counts))),
            repeated=self._repeated,
            disputed=tuple(sorted(disputed, key=_agreed)),
        )


def _labels(content: Row, source: str, line: int) -> Mapping[str, str]:
    given = content.metadata
    if ANNOTATIONS in given:
        try:
            found = json.loads(given[ANNOTATIONS])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            fix = 'write {"annotator": "label", ...}'
            problem = Problem("is no object of annotator -> label", source, line, ANNOTATIONS, fix)
            raise DataError([problem], message="The annotations cannot be read:")
        return {str(name): str(label) for name, label in found.items() if label is not None}
    return {given[ANNOTATOR]: said(content)} if given.get(ANNOTATOR) else {}


def _pairs(items: Iterable[_Item], annotators: Iterable[str]) -> Iterable[PairAgreement]:
    listed = tuple(items)
    for first, second in combinations(annotators, 2):
        both = [(item.labels[first], item.labels[second]) for item in listed if {first, second} <= item.labels.keys()]
        found = cohen_kappa(both)
        if found.equal is not None:
            yield PairAgreement(
                first=first,
                second=second,
                items=found.items,
                equal=found.equal,
                kappa=found.value,
                standard_error=found.standard_error,
            )


def _disputed(item: _Item) -> Disputed:
    (label, most), (_, next_most) = Counter(item.labels.values()).most_common(2)
    majority = label if most > next_most else None
    return Disputed(text=item.text, labels=item.labels, majority=majority, places=tuple(dict.fromkeys(item.places)))


def _agreed(item: Disputed) -> tuple[float, str]:
    """The share of the label most gave: the smaller, the more there is to decide."""
    most = max(Counter(item.labels.values()).values())
    return most / len(item.labels), item.text
