"""qa: a question with a short expected answer."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["QuestionAnswer"]


class QuestionAnswer(ItemType):
    """A question and its `answer`; `answers` are others that are as right."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="exact_match"),)

    answer: str
    answers: tuple[str, ...] = ()

    def item(self) -> Item:
        """The answer as the reference."""
        expect = {"answers": list(self.answers)} if self.answers else {}
        return self.asked(reference=self.answer, expect=expect)
