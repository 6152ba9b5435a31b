"""What the endpoints below /v1/tunesmith/decisions answer."""

from __future__ import annotations

from typing import Literal

from tunesmith.decide.evidence import DecideReport
from tunesmith.types.base import Value

__all__ = ["DecisionEntry"]


class DecisionEntry(Value):
    """A decision: its id (the recipe's name and the beginning of the dataset's digest) and the whole report."""

    id: str
    object: Literal["tunesmith.decision"] = "tunesmith.decision"
    report: DecideReport
