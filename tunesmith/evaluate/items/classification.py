"""classification: a text that gets one of a fixed set of labels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from tunesmith.errors import nearest
from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Classification"]


class Classification(ItemType):
    """The `label` of a text. `labels`, when given, must hold it, and are what log-likelihood chooses among.

    The labels that answers are read as are the suite's `labels`, or all that its items name.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(name="accuracy"),
        MetricSpec(name="macro_f1"),
        MetricSpec(name="invalid_rate"),
    )

    label: str
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_a_label(self) -> Classification:
        if self.labels and self.label not in self.labels:
            close = nearest(self.label, self.labels)
            hint = f"did you mean {close!r}? " if close else ""
            raise ValueError(f"label: {self.label!r} is none of the labels; {hint}labels: {', '.join(self.labels)}")
        return self

    def item(self) -> Item:
        """The label as the reference, the labels as options."""
        return self.asked(reference=self.label, options=self.labels)
