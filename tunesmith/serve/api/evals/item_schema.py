"""The schema of an eval's rows: checked itself when the eval is made, then every row by it.

Patterns are refused, because a crafted one can keep the server busy for years; references lead nowhere outside of the
schema, because nothing is fetched for a caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.errors import MissingDependency
from tunesmith.serve.failures import invalid

__all__ = ["ItemSchema"]

_PARAM = "data_source_config.item_schema"
_REFUSED = ("pattern", "patternProperties")
_DEEPEST = 64


class ItemSchema:
    """Whether rows are as `schema` (JSON Schema, draft 2020-12 unless it says otherwise) wants them."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ApiError 400 for what is no schema or is not offered."""
        jsonschema, registry = _libraries()
        for keyword in _keywords(schema, 0):
            if keyword in _REFUSED:
                raise invalid(f"The keyword {keyword} is not offered here. Check the text in a grader instead.", _PARAM)
        kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise invalid(f"It is no JSON Schema: {error.json_path}: {error.message}", _PARAM) from None
        self._validator = kind(schema, registry=registry)

    def fault(self, row: Any) -> str | None:
        """What is wrong with `row`, at its place; None when it fits."""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            found = best_match(self._validator.iter_errors(row))
        except (Unresolvable, RecursionError) as error:
            return f"the schema refers to what is not there ({type(error).__name__})"
        return None if found is None else f"{found.json_path.replace('$', 'item', 1)}: {found.message}"


def _libraries() -> tuple[Any, Any]:
    try:
        import jsonschema
        import referencing
    except ImportError:
        raise MissingDependency(
            "Evals check their rows with the package jsonschema.",
            hint="Install it where the server runs: pip install 'tunesmith[graders]'",
        ) from None
    return jsonschema, referencing.Registry()


def _keywords(schema: Any, depth: int) -> Iterator[str]:
    """Every keyword of a schema and the schemas in it; the names of properties are none."""
    if depth > _DEEPEST:
        raise invalid(f"It is nested more than {_DEEPEST} deep.", _PARAM)
    if isinstance(schema, list):
        for part in schema:
            yield from _keywords(part, depth + 1)
    if isinstance(schema, dict):
        for keyword, value in schema.items():
            yield keyword
            if keyword in ("properties", "$defs", "definitions", "dependentSchemas") and isinstance(value, dict):
                for part in value.values():
                    yield from _keywords(part, depth + 1)
            elif keyword not in ("const", "enum", "default", "examples"):
                yield from _keywords(value, depth + 1)
