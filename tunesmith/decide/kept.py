"""The decisions in a home: every folder of home/decisions that holds a `decision.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tunesmith.decide.evidence import DecideReport
from tunesmith.errors import EvaluationError, NotFound, nearest
from tunesmith.types.base import Value

__all__ = ["FOLDER", "KeptDecision", "all_decisions", "find_decision"]

FOLDER = "decisions"


class KeptDecision(Value):
    """A decision's folder, whose name is its id, and what was decided there last."""

    id: str
    path: Path
    report: DecideReport


def all_decisions(home: Path) -> tuple[KeptDecision, ...]:
    """Every decision under `home`, the oldest first. Raises EvaluationError when one cannot be read."""
    files = sorted((home / FOLDER).glob("*/decision.json"), key=lambda file: (file.stat().st_mtime, file.parent.name))
    return tuple(KeptDecision(id=file.parent.name, path=file.parent, report=_report(file)) for file in files)


def find_decision(home: Path, identity: str) -> KeptDecision:
    """The decision with this id. Raises NotFound with the nearest one."""
    found = all_decisions(home)
    for each in found:
        if each.id == identity:
            return each
    close = nearest(identity, [each.id for each in found])
    listed = ", ".join(each.id for each in found) or "none yet: tunesmith decide RECIPE"
    hint = f"{f'Did you mean {close!r}? ' if close else ''}There are: {listed}"
    raise NotFound(f"{identity!r} is no decision.", hint=hint)


def _report(file: Path) -> DecideReport:
    try:
        return DecideReport.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise EvaluationError(
            f"{file} cannot be read ({error.error_count()} faults).",
            hint="Run tunesmith decide again: it writes the file anew from what was measured.",
        ) from error
