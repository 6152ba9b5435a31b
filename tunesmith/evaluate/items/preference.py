"""preference: two answers to one question, of which people chose one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Preference"]


class Preference(ItemType):
    """`chosen` and `rejected` answers: does the model find the chosen one likelier?"""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="preference_accuracy"),)

    chosen: str
    rejected: str

    @model_validator(mode="after")
    def _differ(self) -> Preference:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same")
        return self

    def item(self) -> Item:
        """Both answers as options, the chosen one as the reference."""
        options, expect = (self.chosen, self.rejected), {"rejected": self.rejected}
        return self.asked(reference=self.chosen, options=options, expect=expect)
