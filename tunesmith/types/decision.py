"""The gate's verdicts."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["Decision", "Outcome", "Verdict"]

Outcome = Literal["pass", "fail", "inconclusive"]


class Verdict(Value):
    """One rule's judgement, with the figures that led to it in one plain sentence."""

    rule: str
    outcome: Outcome
    reason: str


class Decision(Value):
    """All verdicts. The release passes only when every rule passes."""

    report_digest: str
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        """fail if any rule failed, else inconclusive if any is undecided, else pass."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if "fail" in outcomes:
            return "fail"
        return "inconclusive" if "inconclusive" in outcomes else "pass"
