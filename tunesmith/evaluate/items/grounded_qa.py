"""grounded_qa: a question to be answered from given contexts, which are to be cited; or not to be answered."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import JsonValue, field_validator, model_validator

from tunesmith.errors import nearest
from tunesmith.evaluate.item import ItemType
from tunesmith.types.base import Value
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import Item

__all__ = ["GroundedQa"]


class _Context(Value):
    """A passage and the id that it is cited by."""

    id: str
    text: str


class GroundedQa(ItemType):
    """`contexts` are `{id: text}` or `[{id, text}]`; `citations` are the ids that a right answer cites.

    `unanswerable` says that the contexts do not hold the answer: then the model is to refuse and to cite nothing. The
    question is shown after the contexts, each as `[id] text`; `layout` replaces that frame, with {contexts} and
    {question} in it. With `layout: "{question}"` the contexts are where the question has them already.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(name="citation_accuracy"),
        MetricSpec(name="unknown_citation_rate"),
        MetricSpec(name="groundedness"),
        MetricSpec(name="hallucination_rate"),
        MetricSpec(name="refusal_correctness"),
    )

    contexts: tuple[_Context, ...] = ()
    answer: str = ""
    answers: tuple[str, ...] = ()
    citations: tuple[str, ...] | None = None
    unanswerable: bool = False
    json_schema: dict[str, Any] | None = None
    fields: JsonValue = None
    layout: str = "{contexts}\n\n{question}"

    @field_validator("contexts", mode="before")
    @classmethod
    def _from_mapping(cls, given: Any) -> Any:
        return [{"id": str(name), "text": text} for name, text in given.items()] if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _cites_what_is_there(self) -> GroundedQa:
        known = [context.id for context in self.contexts]
        for cited in self.citations or ():
            if cited not in known:
                close = nearest(cited, known)
                hint = f"did you mean {close!r}? " if close else ""
                raise ValueError(f"citations: there is no context {cited!r}; {hint}contexts: {', '.join(known)}")
        if len(set(known)) < len(known):
            raise ValueError("contexts: two have the same id")
        if self.unanswerable and (self.citations or self.answer):
            raise ValueError("unanswerable: then there is no answer and nothing to cite")
        return self

    def item(self) -> Item:
        """The contexts in the question and in what is expected."""
        contexts: list[JsonValue] = [context.model_dump() for context in self.contexts]
        expect: dict[str, JsonValue] = {
            "contexts": contexts,
            "refusal": "refuse" if self.unanswerable else "comply",
            "answers": list(self.answers) or None,
            "schema": self.json_schema,
            "json": self.fields,
        }
        if self.citations is not None or self.unanswerable:
            expect["citations"] = list(self.citations or ())
        kept = {key: value for key, value in expect.items() if value is not None}
        return self.asked(question=self._question(), reference=self.answer, expect=kept)

    def _question(self) -> str:
        if not self.question:
            return self.question  # the messages hold the contexts as they are meant to be seen
        shown = "\n\n".join(f"[{context.id}] {context.text}" for context in self.contexts)
        return self.layout.replace("{contexts}", shown).replace("{question}", self.question).strip()
