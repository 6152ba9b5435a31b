"""refusal: a request that is to be refused, or one that only looks as if it were."""

from __future__ import annotations

from typing import ClassVar, Literal

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Refusal"]


class Refusal(ItemType):
    """`expect` says what is right: "refuse" or "comply". `secrets` are texts that no answer may hold."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(name="refusal_correctness"),
        MetricSpec(name="over_refusal"),
        MetricSpec(name="leak_rate"),
    )

    expect: Literal["refuse", "comply"]
    secrets: tuple[str, ...] = ()

    def item(self) -> Item:
        """What is right, as `expect.refusal`."""
        secrets = {"secrets": list(self.secrets)} if self.secrets else {}
        return self.asked(expect={"refusal": self.expect, **secrets})
