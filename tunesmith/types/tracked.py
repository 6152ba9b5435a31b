"""Which fields of a spec did the code really read?

An option that is accepted but never applied is a lie. A stage works on `track(spec)`, which behaves like the spec but
remembers every field that is read; `unread(spec)` then names the rest, and the pipeline refuses the run.

    spec = track(recipe.train)
    ...                       # the stage does its work
    unread(spec)              # ("warmup_ratio",) when nothing looked at it
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import PrivateAttr

from tunesmith.types.base import Value

__all__ = ["track", "unread"]

AnyValue = TypeVar("AnyValue", bound=Value)


def track(value: AnyValue) -> AnyValue:
    """A copy of `value` (same class to `isinstance`, same digest) that remembers which fields are read.

    Values inside it, also in tuples, are tracked too. Extra fields (a plugin's options) count as read when `options`
    is. Dumping, comparing and digesting are not reading.
    """
    fields = {name: _track_inside(inside) for name, inside in _contents(value).items()}
    tracked = _tracked_class(type(value))
    return cast(AnyValue, tracked.model_construct(_fields_set=set(value.model_fields_set), **fields))


def unread(value: Value) -> tuple[str, ...]:
    """Dotted names of the fields of a tracked value that were never read, sorted; () when all were.

    Raises TypeError when `value` was not made by `track`.
    """
    reads: set[str] | None = getattr(value, "_reads", None)
    if reads is None:
        raise TypeError(f"{type(value).__name__} is not tracked; make it with track(value).")
    missing = []
    for name, inside in _contents(value).items():
        if name not in reads:
            missing.append(name)
        elif isinstance(inside, Value):
            missing += [f"{name}.{deeper}" for deeper in unread(inside)]
        elif isinstance(inside, tuple):
            missing += [
                f"{name}.{index}.{deeper}"
                for index, item in enumerate(inside)
                if isinstance(item, Value)
                for deeper in unread(item)
            ]
    return tuple(sorted(missing))


def _contents(value: Value) -> dict[str, Any]:
    """All fields and extra fields, read past the tracking."""
    extra = object.__getattribute__(value, "__pydantic_extra__") or {}
    return {**object.__getattribute__(value, "__dict__"), **extra}


def _track_inside(inside: object) -> object:
    if isinstance(inside, Value):
        return track(inside)
    if isinstance(inside, tuple):
        return tuple(_track_inside(item) for item in inside)
    return inside


@cache
def _tracked_class(kind: type[Value]) -> type[Value]:
    def read(self: Value, name: str) -> Any:
        if name in kind.model_fields:
            object.__getattribute__(self, "__pydantic_private__")["_reads"].add(name)
        elif name == "options":
            extra = object.__getattribute__(self, "__pydantic_extra__") or {}
            object.__getattribute__(self, "__pydantic_private__")["_reads"].update(extra)
        return kind.__getattribute__(self, name)

    body: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__getattribute__": read,
        "_reads": PrivateAttr(default_factory=set),
    }
    metaclass: Any = type(kind)
    return cast(type[Value], metaclass(kind.__name__, (kind,), body))
