"""JSON Schema as metrics and item types use it. Nothing is fetched: a reference out of the schema fits nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tunesmith.errors import MissingDependency

__all__ = ["fault", "fits", "validator"]


def validator(schema: Mapping[str, Any]) -> Any:
    """A jsonschema validator of `schema` (draft 2020-12 unless `$schema` says otherwise).

    Raises ValueError for what is no JSON Schema, MissingDependency without the package jsonschema.
    """
    return _validator(json.dumps(schema, sort_keys=True))


def fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with `value` and where; None when it fits."""
    _, unresolvable = _libraries()
    try:
        for error in validator(schema).iter_errors(value):
            return f"{error.json_path}: {error.message}"
    except (unresolvable, RecursionError) as error:
        return f"the schema refers to what is not there ({type(error).__name__})"
    return None


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether `value` fits `schema`."""
    return fault(value, schema) is None


@lru_cache(maxsize=256)
def _validator(written: str) -> Any:
    library, _ = _libraries()
    from referencing import Registry

    schema = json.loads(written)
    kind = library.validators.validator_for(schema, library.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except library.SchemaError as error:
        raise ValueError(f"it is no JSON Schema: {error.json_path}: {error.message}") from None
    return kind(schema, registry=Registry())


def _libraries() -> tuple[Any, type[Exception]]:
    try:
        import jsonschema
        from referencing.exceptions import Unresolvable
    except ImportError:
        raise MissingDependency(
            "JSON Schemas are checked with the package jsonschema.",
            hint="Install it with: pip install 'tunesmith[graders]'",
        ) from None
    return jsonschema, Unresolvable
