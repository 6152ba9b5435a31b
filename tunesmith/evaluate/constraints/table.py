"""The table of constraints, and how an answer is held against one that a suite writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue, ValidationError, validate_call

from tunesmith.errors import nearest
from tunesmith.evaluate.constraints import counts, wording

__all__ = ["CHECKS", "follows", "named_constraints", "problem_of"]

CHECKS: Mapping[str, Callable[..., bool]] = MappingProxyType(
    {
        name: validate_call(getattr(module, name))
        for module in (counts, wording)
        for name in module.__all__
        if name != "within"
    }
)
"""Every constraint by the name that suites write; its options are the function's keyword arguments."""


def named_constraints(written: Sequence[JsonValue]) -> list[dict[str, JsonValue]]:
    """Constraints as mappings with a `name`; a plain text is a constraint without options.

    Raises ValueError with the nearest name or what is wrong with the options.
    """
    named: list[JsonValue] = [{"name": each} if isinstance(each, str) else each for each in written]
    specs = [each for each in named if isinstance(each, dict)]
    if len(specs) < len(named):
        raise ValueError("a constraint is a name or a mapping with `name` and options")
    for spec in specs:
        if problem := problem_of(spec):
            raise ValueError(problem)
    return specs


def problem_of(spec: Mapping[str, JsonValue]) -> str | None:
    """Why this constraint cannot be checked, or None."""
    name = spec.get("name")
    if not isinstance(name, str) or name not in CHECKS:
        close = nearest(str(name), CHECKS)
        hint = f"did you mean {close!r}? " if close else ""
        return f"there is no constraint {name!r}; {hint}allowed: {', '.join(sorted(CHECKS))}"
    try:
        CHECKS[name]("", **_options(spec))
    except ValidationError as error:
        said = (f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        return f"constraint {name}: {'; '.join(said)}"
    except ValueError as error:
        return f"constraint {name}: {error}"
    return None


def follows(answer: str, spec: Mapping[str, JsonValue], loose: bool = False) -> bool:
    """Whether `answer` keeps to the constraint; an empty answer keeps to none.

    Loose, it may also keep to it without its asterisks, its first line, its last line, or several of these (section
    2.2 of IFEval, arXiv:2311.07911).

    Raises ValueError for what is no constraint (see `problem_of`).
    """
    if problem := problem_of(spec):
        raise ValueError(problem)
    check, options = CHECKS[str(spec["name"])], _options(spec)
    return any(check(each, **options) for each in (_loosened(answer) if loose else [answer]) if each.strip())


def _options(spec: Mapping[str, JsonValue]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "name"}


def _loosened(answer: str) -> list[str]:
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [version for text in (answer, *cut) for version in (text, text.replace("*", ""))]
