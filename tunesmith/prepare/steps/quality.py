"""Simple rules that bad rows break: an answer too short, an instruction too long, an answer that echoes the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import answers, question
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Quality"]

_SHORTEST_ECHO = 20
_RUNNING_ON = ("\nUser:", "\nHuman:", "\nAssistant:", "\n### Instruction", "\nQ:")


class Quality(Value):
    """Rows that break a rule, each rule a finding and, with `action: drop`, a reason.

    short_output: the wanted answer has fewer than `min_output` characters. long_instruction: what precedes it has more
    than `max_instruction` characters. echo: the answer repeats the question, or opens with it (texts of 20 characters
    or more). runs_on: the answer goes on with the next turn (`\\nUser:`). no_letters: the answer has neither
    letters nor digits. Classification has short answers: leave `min_output` at 1 there.
    """

    action: Literal["report", "drop"] = "report"
    min_output: int = Field(default=1, ge=0)
    max_instruction: int = Field(default=20_000, ge=1)

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The rules for one row. Drop reasons: the names of the rules; the first broken one counts."""

        def judge(row: Row) -> Outcome:
            findings = tuple(self._broken(row))
            if findings and self.action == "drop":
                return Outcome(None, findings[0].kind, findings)
            return Outcome(row, findings=findings)

        return judge

    def _broken(self, row: Row) -> Iterator[Finding]:
        asked, said = question(row).strip(), [answer.strip() for answer in answers(row)[:1]]
        if len(asked) > self.max_instruction:
            yield Finding("long_instruction", f"{len(asked):,} characters, allowed {self.max_instruction:,}")
        for answer in filter(None, said):  # an answer that only calls tools says nothing
            if len(answer) < self.min_output:
                yield Finding("short_output", f"{len(answer)} characters, wanted {self.min_output}")
            if len(asked) >= _SHORTEST_ECHO and answer.casefold().startswith(asked.casefold()):
                yield Finding("echo", asked[:80])
            if (mark := next((mark for mark in _RUNNING_ON if mark in answer), "")) and asked:
                yield Finding("runs_on", mark.strip())
            if not any(map(str.isalnum, answer)):
                yield Finding("no_letters", answer[:80])
