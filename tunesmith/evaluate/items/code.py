"""code: a program to write, with tests that it must pass."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, JsonValue, field_validator

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["Code"]


class Code(ItemType):
    """`tests` are Python statements that must run without an exception after `setup` and the answer's code.

    `answer` is a solution that passes, when there is one.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="pass_at_k"),)

    tests: tuple[str, ...] = Field(min_length=1)
    setup: str = ""
    answer: str = ""

    @field_validator("tests")
    @classmethod
    def _are_python(cls, tests: tuple[str, ...]) -> tuple[str, ...]:
        for test in tests:
            try:
                compile(test, "test", "exec")
            except (SyntaxError, ValueError) as error:
                raise ValueError(f"{test[:60]!r} is not Python: {error}") from None
        return tests

    def item(self) -> Item:
        """The tests and the setup as what is expected."""
        expect: dict[str, JsonValue] = {"tests": list(self.tests), "setup": self.setup}
        return self.asked(reference=self.answer, expect=expect)
