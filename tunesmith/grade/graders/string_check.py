"""string_check: 1 when the answer stands in the asked relation to the reference, else 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunesmith.grade.grader import Answered, Grade, Grader, score_each
from tunesmith.grade.judge import Judge
from tunesmith.grade.placeholders import Template, fill

__all__ = ["StringCheck"]


class StringCheck(Grader):
    """1 or 0. `eq`: input equals reference; `ne`: it does not; `like`: input contains reference; `ilike`: the same
    without regard to case.

    By hand: input "Yes, paid", reference "paid": eq 0, ne 1, like 1; reference "PAID": like 0, ilike 1.
    """

    input: Template = "{{sample.output_text}}"
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"] = "eq"

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """1.0 or 0.0 for each answer."""
        return score_each(answers, self._score)

    def _score(self, answered: Answered) -> float:
        sample = answered.sample.namespace()
        given, reference = (fill(template, sample, answered.item) for template in (self.input, self.reference))
        match self.operation:
            case "eq":
                return float(given == reference)
            case "ne":
                return float(given != reference)
            case "like":
                return float(reference in given)
            case "ilike":
                return float(reference.casefold() in given.casefold())
