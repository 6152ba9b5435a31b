"""What a request's body gets wrong, told of the form that the client meant.

Where a field takes one of several forms ("auto" or a number, a text or a list of texts), pydantic tells for each form
why it is not that one, and puts the form's name into the place. A client meant one of them: the one that its value
comes nearest to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Fault", "faults_of"]

_SCALARS = frozenset({"str", "int", "float", "bool"})

Place = tuple[int | str, ...]


class Fault(NamedTuple):
    """One thing that is wrong, at its place in the body (without names of forms)."""

    place: Place
    kind: str
    text: str


def faults_of(problems: Iterable[Mapping[str, Any]], body: Any) -> list[Fault]:
    """The faults that pydantic's `problems` with `body` tell, without those of forms that were not meant."""
    found = [Fault(tuple(each["loc"][1:]), each["type"], str(each["msg"])) for each in problems]
    return _meant([fault._replace(place=_without_kinds(fault.place, body)) for fault in found])


def _without_kinds(place: Place, body: Any) -> Place:
    """Where a value's own `type` chooses the form, that type is no part of the place, though pydantic says it."""
    path: list[int | str] = []
    value = body
    for index, part in enumerate(place):
        after = place[index + 1] if index + 1 < len(place) else None
        chosen = isinstance(value, dict) and part == value.get("type") and after is not None
        if chosen and (part not in value or after == part):
            continue
        path.append(part)
        value = _inner(value, part)
    return tuple(path)


def _inner(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        # The name of a form stays where it is: it leads no deeper.
        return value.get(part) if part in value else (value if _is_form(part) else None)
    if isinstance(value, list):
        return value[part] if isinstance(part, int) and part < len(value) else value
    return None


def _meant(faults: Sequence[Fault]) -> list[Fault]:
    """For each field of several forms, the faults of the form (or forms) that the value comes nearest to."""
    choices: dict[Place, dict[int | str, list[Fault]]] = {}
    plain: list[Fault] = []
    order: list[Place] = []
    for fault in faults:
        at = next((index for index, part in enumerate(fault.place) if _is_form(part)), None)
        if at is None:
            plain.append(fault)
            continue
        field, form = fault.place[:at], fault.place[at]
        if field not in choices:
            order.append(field)
        inner = fault._replace(place=fault.place[at + 1 :])
        choices.setdefault(field, {}).setdefault(form, []).append(inner)
    for field in order:
        forms = list(choices[field].values())
        nearest = max(map(_nearness, forms))
        for told in forms:
            if _nearness(told) == nearest:
                plain += [inner._replace(place=field + inner.place) for inner in _meant(told)]
    return plain


def _nearness(form: Sequence[Fault]) -> int:
    """0: the value is not of the form's type; 1: something in it is not; 2: a value is out of bounds or missing."""
    if any(not fault.place and _is_mismatch(fault) for fault in form):
        return 0
    return 1 if all(map(_is_mismatch, form)) else 2


def _is_mismatch(fault: Fault) -> bool:
    return fault.kind.endswith(("_type", "_parsing")) or fault.kind == "literal_error"


def _is_form(part: int | str) -> bool:
    """Fields' names are lower-case identifiers; forms are called such as `constrained-int` or `list[str]`."""
    return isinstance(part, str) and (part in _SCALARS or not (part.islower() and part.isidentifier()))
