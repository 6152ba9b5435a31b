"""What graders by a model share: messages with placeholders, one question per answer, a grade for what was said."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from tunesmith.errors import EvaluationError
from tunesmith.grade.grader import Answered, Grade, GradeError, Grader, unscored
from tunesmith.grade.judge import HttpJudge, Judge, JudgeFailed
from tunesmith.grade.placeholders import Template, Unresolved, fill
from tunesmith.types.base import Value

__all__ = ["ModelGrader", "QuestionMessage", "SamplingParams", "TextPart"]


class TextPart(Value):
    """A piece of text in OpenAI's form."""

    type: Literal["input_text", "text", "output_text"]
    text: Template


class QuestionMessage(Value):
    """One message to the judging model; its text may hold placeholders."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Template | TextPart | tuple[TextPart, ...]
    type: Literal["message"] = "message"

    def filled(self, answered: Answered) -> dict[str, str]:
        """The message for one answer. Raises Unresolved."""
        parts = self.content if isinstance(self.content, tuple) else (self.content,)
        templates = [part if isinstance(part, str) else part.text for part in parts]
        sample = answered.sample.namespace()
        return {"role": self.role, "content": "\n".join(fill(text, sample, answered.item) for text in templates)}


class SamplingParams(Value):
    """How the judging model writes; what is not given is left to the server."""

    max_completions_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None

    def options(self) -> dict[str, Any]:
        """As fields of chat completions (where the first one is called max_completion_tokens)."""
        given = self.model_dump(exclude_none=True)
        longest = given.pop("max_completions_tokens", None)
        return given if longest is None else {**given, "max_completion_tokens": longest}


class ModelGrader(Grader):
    """A grader whose score a model gives: the question, how it is asked, and one grade for what the model said.

    Any OpenAI-compatible server can judge: `base_url` (the key is read from the environment variable `api_key_env`);
    without it the caller's judge is asked. The server is held to the JSON object {"result": ...} unless `structured`
    is false.
    """

    answer_name: ClassVar[str]
    """what the server is told that the JSON object is called"""

    model: str
    input: tuple[QuestionMessage, ...] = Field(min_length=1)
    sampling_params: SamplingParams = SamplingParams()
    structured: bool = True
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"

    @abstractmethod
    def result_schema(self) -> dict[str, Any]:
        """JSON Schema of `result`."""

    @abstractmethod
    def read(self, text: str) -> float:
        """The score in what the model said. Raises ValueError when there is none: the answer is then unscored."""

    def judges(self) -> tuple[str, ...]:
        """The model, when it has no address of its own."""
        return (self.model,) if self.base_url is None else ()

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """One grade per answer. Raises EvaluationError when there is nobody to ask."""
        if self.base_url is not None:
            async with HttpJudge(self.base_url, self.api_key_env) as server:
                return await self._each(answers, server)
        if judge is None:
            raise EvaluationError(
                f"The model {self.model} is to judge, but no server was given.",
                hint="Set the grader's base_url to an OpenAI-compatible server, for example one of `tunesmith serve`.",
            )
        return await self._each(answers, judge)

    async def _each(self, answers: Sequence[Answered], judge: Judge) -> list[Grade]:
        return await asyncio.gather(*(self._one(answered, judge) for answered in answers))

    async def _one(self, answered: Answered, judge: Judge) -> Grade:
        try:
            messages = [message.filled(answered) for message in self.input]
            said = await judge.ask(self.model, messages, self._options())
        except Unresolved as error:
            return unscored(error.kind, str(error))
        except JudgeFailed as error:
            return unscored("model_grader_server_error", str(error))
        tokens = {self.model: said.tokens}
        if said.refusal:
            return unscored("model_grader_refusal_error", said.refusal, tokens)
        try:
            return Grade(score=self.read(said.text), tokens=tokens)
        except ValueError as error:
            if not said.text.strip():
                return unscored("unresponsive_reward_error", "the model's answer is empty", tokens)
            kind: GradeError = "truncated_observation_error" if said.cut_off else "model_grader_parse_error"
            return unscored(kind, str(error), tokens)

    def _options(self) -> dict[str, Any]:
        """Fields of chat completions besides model and messages."""
        if not self.structured:
            return self.sampling_params.options()
        schema = {
            "type": "object",
            "properties": {"result": self.result_schema()},
            "required": ["result"],
            "additionalProperties": False,
        }
        answer = {"name": self.answer_name, "strict": True, "schema": schema}
        return {**self.sampling_params.options(), "response_format": {"type": "json_schema", "json_schema": answer}}
