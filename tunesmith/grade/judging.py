"""What graders by a model share: messages with placeholders, and one question per answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tunesmith.errors import EvaluationError
from tunesmith.grade.grader import Answered, Grade, unscored
from tunesmith.grade.judge import HttpJudge, Judge, JudgeFailed
from tunesmith.grade.placeholders import Template, Unresolved, fill
from tunesmith.types.base import Value

__all__ = ["Question", "QuestionMessage", "SamplingParams", "TextPart", "choose_json", "judge_each"]


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


class Question(Value):
    """Everything but the answers that a judging model is asked with."""

    model: str
    messages: tuple[QuestionMessage, ...]
    options: dict[str, Any]
    base_url: str | None
    api_key_env: str


def choose_json(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The `response_format` that makes a server answer with one JSON object of `schema`."""
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": True, "schema": dict(schema)},
        }
    }


async def judge_each(
    question: Question, answers: Sequence[Answered], judge: Judge | None, read: Callable[[str], float]
) -> list[Grade]:
    """One grade per answer: the model is asked, `read` makes a score of its words or raises ValueError.

    Raises EvaluationError when there is nobody to ask.
    """
    if question.base_url is None:
        if judge is None:
            raise EvaluationError(
                f"The model {question.model} is to judge, but no server was given.",
                hint="Set the grader's base_url to an OpenAI-compatible server, for example one of `tunesmith serve`.",
            )
        return await asyncio.gather(*(_judge_one(question, answered, judge, read) for answered in answers))
    async with HttpJudge(question.base_url, question.api_key_env) as server:
        return await asyncio.gather(*(_judge_one(question, answered, server, read) for answered in answers))


async def _judge_one(question: Question, answered: Answered, judge: Judge, read: Callable[[str], float]) -> Grade:
    try:
        messages = [message.filled(answered) for message in question.messages]
        said = await judge.ask(question.model, messages, question.options)
    except Unresolved as error:
        return unscored("invalid_variable_error", str(error))
    except JudgeFailed as error:
        return unscored("model_grader_server_error", str(error))
    tokens = {question.model: said.tokens}
    if said.refusal:
        return unscored("model_grader_refusal_error", said.refusal, tokens)
    try:
        return Grade(score=read(said.text), tokens=tokens)
    except ValueError as error:
        return unscored("model_grader_parse_error", str(error), tokens)
