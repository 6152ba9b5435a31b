"""field_accuracy: how many of the wanted JSON fields the answer has right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import JsonValue

from tunesmith.evaluate.json_answers import read_json, repaired
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["FieldAccuracy"]

Path = tuple[str, ...]


class FieldAccuracy(Value):
    """Right fields / wanted fields, over all rows (micro). A field is a leaf of the objects in `expect.json`, compared
    whole where it is a list; 1 and 1.0 are equal, 1 and true are not.

    `fields` limits it to these dotted paths (`address.city`, or `address` for all below). With `repair`, an answer
    that is no JSON is read as repair_rate repairs it; else none of its fields is right. `ignore_case` and `any_order`
    forgive letter case in texts and the order of lists. Rows without `expect.json` are unscored.
    Wanted {a: 1, b: {c: x}}, answered {a: 1, b: {c: y}}: 1/2.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "share of the wanted JSON fields whose value the answer has right"

    fields: tuple[str, ...] = ()
    repair: bool = False
    ignore_case: bool = False
    any_order: bool = False

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (right fields, wanted fields)."""
        return np.array([self._row(row) for row in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, totals: Floats) -> Floats:
        """right / wanted."""
        return ratio(totals[..., 0], totals[..., 1])

    def _row(self, row: Prediction) -> tuple[float, float]:
        wanted = dict(self._chosen(row.expect.get("json")))
        if row.expect.get("json") is None or not wanted:
            return np.nan, np.nan
        answer = self._read(row.answer)
        given = {} if answer is None else dict(_leaves(answer, ()))
        right = sum(path in given and self._same(given[path], value) for path, value in wanted.items())
        return right, len(wanted)

    def _chosen(self, wanted: JsonValue) -> Iterator[tuple[Path, Any]]:
        for path, value in _leaves(wanted, ()):
            dotted = ".".join(path)
            if not self.fields or any(f"{dotted}.".startswith(f"{field}.") for field in self.fields):
                yield path, value

    def _read(self, answer: str) -> Any:
        """The answer's value; None when it has none."""
        try:
            return read_json(answer)
        except ValueError:
            found = next(repaired(answer), None) if self.repair else None
            return found.value if found else None

    def _same(self, one: Any, other: Any) -> bool:
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, str) and isinstance(other, str):
            return one.casefold() == other.casefold() if self.ignore_case else one == other
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self._same(one[key], other[key]) for key in one)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and (self._shuffled if self.any_order else self._in_order)(one, other)
        return (type(one) in (int, float) and type(other) in (int, float) and one == other) or one is other is None

    def _in_order(self, one: list[Any], other: list[Any]) -> bool:
        return all(map(self._same, one, other))

    def _shuffled(self, one: list[Any], other: list[Any]) -> bool:
        left = list(other)
        for value in one:
            place = next((index for index, each in enumerate(left) if self._same(value, each)), None)
            if place is None:
                return False
            del left[place]
        return True


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that is no object, and of empty objects."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value
