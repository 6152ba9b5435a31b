"""multi: a formula over the scores of other graders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import field_validator, model_validator

from tunesmith.errors import TunesmithError
from tunesmith.grade import formula
from tunesmith.grade.grader import Answered, Grade, Grader, load_grader, unscored
from tunesmith.grade.judge import Judge

__all__ = ["Multi"]


class Multi(Grader):
    """`calculate_output` over the named `graders`, for example "0.7 * correct + 0.3 * max(style, 0)".

    Operators + - * / ^ and the functions min, max, abs, floor, ceil, exp, sqrt, log. When a part is unscored, the whole
    is. `graders` is a mapping of names to graders; a list of graders, or a single one, goes by their own names.
    """

    graders: dict[str, dict[str, Any]]
    calculate_output: str

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        listed = [given] if isinstance(given, dict) and isinstance(given.get("type"), str) else given
        if not isinstance(listed, list):
            return listed
        if not all(isinstance(spec, dict) and isinstance(spec.get("name"), str) for spec in listed):
            raise ValueError("every grader of a list needs a name")
        return {spec["name"]: spec for spec in listed}

    @model_validator(mode="after")
    def _formula_and_graders_fit(self) -> Multi:
        wanted = formula.names(self.calculate_output)
        if unknown := sorted(wanted - set(self.graders)):
            raise ValueError(f"calculate_output names {unknown}; the graders are {sorted(self.graders)}")
        if unused := sorted(set(self.graders) - wanted):
            raise ValueError(f"the graders {unused} have no effect: calculate_output does not name them")
        for name, spec in self.graders.items():
            try:
                load_grader(spec)
            except TunesmithError as error:
                raise ValueError(f"graders.{name}: {error}") from None
        return self

    def judges(self) -> tuple[str, ...]:
        """Models of all parts."""
        return tuple(model for spec in self.graders.values() for model in load_grader(spec).judges())

    async def warning(self) -> str | None:
        """What the parts must say, each once."""
        found = [await load_grader(spec).warning() for spec in self.graders.values()]
        return " ".join(dict.fromkeys(text for text in found if text)) or None

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """The formula's value for each answer, with the parts as `sub_scores`."""
        parts = {name: await load_grader(spec).grade(answers, judge) for name, spec in self.graders.items()}
        return [self._combined({name: grades[row] for name, grades in parts.items()}) for row in range(len(answers))]

    def _combined(self, parts: dict[str, Grade]) -> Grade:
        scores = {name: part.score for name, part in parts.items() if part.score is not None}
        tokens: Counter[str] = Counter()
        for part in parts.values():
            tokens.update(part.tokens)
        grade = self._value(parts, scores)
        return grade.model_copy(
            update={"sub_scores": {name: scores.get(name) for name in parts}, "tokens": dict(tokens)}
        )

    def _value(self, parts: dict[str, Grade], scores: dict[str, float]) -> Grade:
        for name, part in parts.items():
            if part.score is None:
                return unscored(part.error or "other_error", f"{name}: {part.detail}")
        try:
            return Grade(score=formula.evaluate(self.calculate_output, scores))
        except formula.FormulaError as error:
            return unscored("formula_parse_error", str(error))
