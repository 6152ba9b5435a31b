"""multi_turn: several user messages, each asked after the answer before it; the last answer is judged."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, JsonValue, field_validator, model_validator

from tunesmith.evaluate.constraints.table import named_constraints
from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["MultiTurn"]


class MultiTurn(ItemType):
    """`turns` are the user's messages in order. The last answer is held against `answer`, `constraints` or `rubric`."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="constraints"),)

    turns: tuple[str, ...] = Field(min_length=2)
    answer: str = ""
    constraints: tuple[JsonValue, ...] = ()
    rubric: str = ""

    @field_validator("constraints")
    @classmethod
    def _are_known(cls, written: tuple[JsonValue, ...]) -> tuple[JsonValue, ...]:
        return tuple(named_constraints(written))

    @model_validator(mode="after")
    def _has_only_turns(self) -> MultiTurn:
        if self.question or self.messages:
            raise ValueError("write the user's messages as `turns`, not as `question` or `messages`")
        return self

    def item(self) -> Item:
        """The first turn as the question, the others as followups."""
        expect: dict[str, JsonValue] = {"constraints": list(self.constraints), "rubric": self.rubric}
        return self.asked(
            question=self.turns[0],
            followups=self.turns[1:],
            reference=self.answer,
            expect={key: value for key, value in expect.items() if value},
        )
