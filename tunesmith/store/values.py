"""Frozen values as JSON files that are complete or absent."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from tunesmith.types.base import Value

__all__ = ["read_value", "write_value"]

Kind = TypeVar("Kind", bound=Value)


def read_value(path: Path, kind: type[Kind]) -> Kind | None:
    """The value in `path`, or None when there is no such file. Raises pydantic.ValidationError for another content."""
    return kind.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_value(path: Path, value: Value) -> None:
    """Write `value` to `path` through a draft that is renamed, so that a kill leaves the old file or the new one."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(value.model_dump_json(indent=2), encoding="utf-8")
    draft.replace(path)
