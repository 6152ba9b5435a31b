"""instruction: something to do, with checks on the answer's form and a rubric for a judging model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue, field_validator

from tunesmith.evaluate.constraints.table import named_constraints
from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Instruction"]


class Instruction(ItemType):
    """`constraints` are names, or mappings of a `name` and options; `rubric` says what a judging model looks at."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="constraints"),)

    constraints: tuple[JsonValue, ...] = ()
    rubric: str = ""
    answer: str = ""

    @field_validator("constraints")
    @classmethod
    def _are_known(cls, written: tuple[JsonValue, ...]) -> tuple[JsonValue, ...]:
        return tuple(named_constraints(written))

    def item(self) -> Item:
        """The constraints and the rubric as what is expected; `answer` as the reference."""
        expect: dict[str, JsonValue] = {"constraints": list(self.constraints), "rubric": self.rubric}
        return self.asked(reference=self.answer, expect={key: value for key, value in expect.items() if value})
