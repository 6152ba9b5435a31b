"""Finds answers that refuse: a model trained on them refuses what it should do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import answers
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Refusals"]

# Said within the first 200 characters of an answer; later it is more likely part of the content.
_OPENING = 200
_WILL_NOT = (
    r"(?:can(?:no|['’])t|can not|am (?:not able|unable)|['’]m (?:not able|unable)|will not|won['’]t"
    r"|am not (?:going|comfortable)|['’]m not (?:going|comfortable)|must (?:decline|refuse)|have to (?:decline|refuse))"
)
_HELP = (
    r"(?:help|assist|provide|fulfil+|comply|answer|do that|create|generate|write|engage|support|share|give|discuss"
    r"|offer|participate|produce|continue|to help|to assist|to provide)"
)
_REFUSAL = re.compile(
    rf"\bI {_WILL_NOT}\b.{{0,40}}?\b{_HELP}\b|\bI{_WILL_NOT}\b.{{0,40}}?\b{_HELP}\b"
    r"|\bas an? (?:ai|artificial intelligence|language model|large language model)\b"
    r".{0,80}?\b(?:can(?:no|['’])t|unable|not able|don['’]t|do not)\b"
    r"|^\W*(?:i['’]m |i am )?sorry,? but (?:i|that|this)\b"
    r"|\bI (?:must|have to) (?:respectfully )?(?:decline|refuse)\b"
    r"|\bI(?:['’]d| would) (?:rather|prefer) not\b"
    r"|\b(?:goes|is|would be) against my (?:programming|guidelines|policies|ethical)",
    re.IGNORECASE | re.DOTALL,
)


class Refusals(Value):
    """Rows whose wanted answer is a refusal (English phrases within its first 200 characters).

    Reported as `refusal`; `action: drop` leaves them out. Keep them in safety data, where refusing is the lesson.
    """

    action: Literal["report", "drop"] = "report"

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The search in one row. Drop reason: refusal."""

        def search(row: Row) -> Outcome:
            said = answers(row)[:1]
            hit = _REFUSAL.search(said[0][:_OPENING]) if said else None
            if hit is None:
                return Outcome(row)
            findings = (Finding("refusal", " ".join(hit.group().split())),)
            return Outcome(None, "refusal", findings) if self.action == "drop" else Outcome(row, findings=findings)

        return search
