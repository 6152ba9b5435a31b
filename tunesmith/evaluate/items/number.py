"""number: a question whose answer is a number, with as much reasoning before it as the model likes."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Number"]


class Number(ItemType):
    """The `answer` is a number, or a text with one. `instruction` is added to the question."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="final_number"),)

    answer: str | int | float
    instruction: str = "Write the final answer as a number after ####."

    def item(self) -> Item:
        """The number as what is expected and as the reference."""
        question = self.question and f"{self.question}\n\n{self.instruction}".strip()
        return self.asked(question=question, reference=str(self.answer), expect={"number": self.answer})
