"""label_model: a model puts the answer into one of several classes, some of which pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from tunesmith.errors import nearest
from tunesmith.grade.grader import Answered, Grade, Grader
from tunesmith.grade.judge import Judge
from tunesmith.grade.judging import Question, QuestionMessage, SamplingParams, choose_json, judge_each

__all__ = ["LabelModel"]


class LabelModel(Grader):
    """1 when the label that `model` chooses is one of `passing_labels`, else 0.

    Servers as for score_model. The server is asked for {"result": one of `labels`} unless `structured` is false; a
    plain answer must be one label and nothing else. Anything else is unscored.
    """

    model: str
    input: tuple[QuestionMessage, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=2)
    passing_labels: tuple[str, ...] = Field(min_length=1)
    sampling_params: SamplingParams = SamplingParams()
    structured: bool = True
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"

    @model_validator(mode="after")
    def _passing_labels_are_labels(self) -> LabelModel:
        for label in self.passing_labels:
            if label not in self.labels:
                close = nearest(label, self.labels)
                hint = f"did you mean {close!r}? " if close else ""
                raise ValueError(f"passing_labels: {label!r} is no label; {hint}labels: {', '.join(self.labels)}")
        return self

    def judges(self) -> tuple[str, ...]:
        """The model, when it has no address of its own."""
        return (self.model,) if self.base_url is None else ()

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """1.0 or 0.0 for each answer."""
        schema = {
            "type": "object",
            "properties": {"result": {"type": "string", "enum": list(self.labels)}},
            "required": ["result"],
            "additionalProperties": False,
        }
        options = {**self.sampling_params.options(), **(choose_json("label", schema) if self.structured else {})}
        question = Question(
            model=self.model, messages=self.input, options=options, base_url=self.base_url, api_key_env=self.api_key_env
        )
        return await judge_each(question, answers, judge, self._read)

    def _read(self, text: str) -> float:
        try:
            said: Any = json.loads(text)
        except ValueError:
            said = text.strip()
        label = said.get("result") if isinstance(said, dict) else said
        if label not in self.labels:
            raise ValueError(f"the model said {text[:200]!r}, which is none of: {', '.join(self.labels)}")
        return float(label in self.passing_labels)
