"""multiple_choice: a question with lettered options, of which one is right."""

from __future__ import annotations

import string
from typing import ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from tunesmith.evaluate.item import ItemType
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["MultipleChoice"]

LETTERS = string.ascii_uppercase


class MultipleChoice(ItemType):
    """`answer` is the letter of the right option, or its index from 0.

    The question is followed by the options, one to a line ("A. Paris"), and by `instruction`. Log-likelihood compares
    the letters, as MMLU does (Hendrycks et al. 2020, arXiv:2009.03300); with `score: text` it compares the options'
    texts, and the question stands alone.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(name="multiple_choice_accuracy"),)

    options: tuple[str, ...] = Field(min_length=2, max_length=len(LETTERS))
    answer: int | str
    score: Literal["letter", "text"] = "letter"
    instruction: str = "Answer with the letter of the right option only."

    @property
    def index(self) -> int:
        """Place of the right option. Raises ValueError when `answer` names none."""
        given = self.answer
        if isinstance(given, str) and given.strip().isdigit():
            given = int(given)
        if isinstance(given, int):
            place = given
        else:
            letter = given.strip().upper()
            place = LETTERS.find(letter) if len(letter) == 1 else -1
        if not 0 <= place < len(self.options):
            last = len(self.options) - 1
            raise ValueError(f"answer: {self.answer!r} is no option; write A to {LETTERS[last]}, or 0 to {last}")
        return place

    @model_validator(mode="after")
    def _names_an_option(self) -> MultipleChoice:
        if self.score == "text" and len(set(self.options)) < len(self.options):
            raise ValueError("options: two are the same, so their texts cannot be told apart")
        _ = self.index
        return self

    def item(self) -> Item:
        """The right letter (or text) as the reference; all of them as options."""
        letters = tuple(LETTERS[: len(self.options)])
        choices: list[JsonValue] = list(self.options)
        expect: dict[str, JsonValue] = {"letter": letters[self.index], "choices": choices}
        if self.score == "text":
            return self.asked(reference=self.options[self.index], options=self.options, expect=expect)
        question = self.question and self._listed(letters)
        return self.asked(question=question, reference=letters[self.index], options=letters, expect=expect)

    def _listed(self, letters: tuple[str, ...]) -> str:
        options = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, self.options, strict=True))
        return f"{self.question}\n{options}\n\n{self.instruction}".strip()
