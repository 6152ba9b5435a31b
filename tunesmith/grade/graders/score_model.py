"""score_model: a model reads the answer and gives a number."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from tunesmith.grade.grader import Answered, Grade, Grader
from tunesmith.grade.judge import Judge
from tunesmith.grade.judging import Question, QuestionMessage, SamplingParams, choose_json, judge_each

__all__ = ["ScoreModel"]


class ScoreModel(Grader):
    """The number between `range[0]` and `range[1]` that `model` answers with.

    Any OpenAI-compatible server can judge: `base_url` (the key is read from the environment variable `api_key_env`).
    The server is asked for the JSON object {"result": number} unless `structured` is false. What is neither that nor
    a plain number, or lies outside the range, is unscored, never a middle score.
    """

    model: str
    input: tuple[QuestionMessage, ...] = Field(min_length=1)
    range: tuple[float, float] = (0.0, 1.0)
    sampling_params: SamplingParams = SamplingParams()
    structured: bool = True
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"

    @field_validator("range")
    @classmethod
    def _is_a_range(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
            raise ValueError(f"the first number must be below the second, found {list(ends)}")
        return ends

    def judges(self) -> tuple[str, ...]:
        """The model, when it has no address of its own."""
        return (self.model,) if self.base_url is None else ()

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """The model's number for each answer."""
        schema = {
            "type": "object",
            "properties": {"result": {"type": "number"}},
            "required": ["result"],
            "additionalProperties": False,
        }
        options = {**self.sampling_params.options(), **(choose_json("grade", schema) if self.structured else {})}
        question = Question(
            model=self.model, messages=self.input, options=options, base_url=self.base_url, api_key_env=self.api_key_env
        )
        return await judge_each(question, answers, judge, self._read)

    def _read(self, text: str) -> float:
        try:
            said: Any = json.loads(text)
        except ValueError:
            raise ValueError(f"the model said {text[:200]!r}, which is neither a number nor JSON") from None
        value = said.get("result") if isinstance(said, dict) else said
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"the model said {text[:200]!r}, which holds no number `result`")
        low, high = self.range
        if not low <= value <= high:
            raise ValueError(f"the model said {value}, outside of {low:g} to {high:g}")
        return float(value)
