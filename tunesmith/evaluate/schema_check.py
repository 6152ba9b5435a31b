"""Whether answers fit the schema that is expected of them, as they stand or after repairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.json_answers import read_json, repaired
from tunesmith.evaluate.json_schemas import fits, validator
from tunesmith.types.report import Prediction

__all__ = ["Check", "checked_rows"]


class Check(NamedTuple):
    """What became of one answer: it fits as it stands, or after `repairs` (None: there are none that help)."""

    fits: bool
    repairs: frozenset[str] | None


def checked_rows(predictions: Sequence[Prediction], otherwise: Mapping[str, Any] | None) -> Iterator[Check | None]:
    """A check of each row against its own schema or `otherwise`; None where it has neither.

    A row that brings the JSON value wanted and no schema is checked to be JSON.

    Raises EvaluationError for what is no JSON Schema.
    """
    for row in predictions:
        schema = row.expect.get("schema", otherwise)
        if schema is None and row.expect.get("json") is not None:
            schema = {}
        if not isinstance(schema, dict):
            yield None
            continue
        try:
            validator(schema)
        except ValueError as error:
            raise EvaluationError(f"The schema expected of {row.example_id} cannot be used: {error}") from None
        yield _check(row.answer, schema)


def _check(answer: str, schema: Mapping[str, Any]) -> Check:
    try:
        if fits(read_json(answer), schema):
            return Check(True, frozenset())
    except ValueError:
        pass  # no JSON as it stands: repairs may help
    for found in repaired(answer):
        if found.repairs and fits(found.value, schema):
            return Check(False, found.repairs)
    return Check(False, None)
