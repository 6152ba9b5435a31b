"""The contract of a grader: answers in, one grade each out. Plugins lie in `tunesmith.grade.graders`.

A grade is a finite number, or "unscored" with the reason. An unscored answer is never given a middle score: who
averages grades counts the unscored ones apart.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue, ValidationError

from tunesmith import plugins
from tunesmith.errors import NotFound, Problem, RecipeError, TunesmithError
from tunesmith.grade.judge import Judge
from tunesmith.grade.placeholders import Unresolved
from tunesmith.types.base import Value

__all__ = ["FOLDER", "Answered", "Grade", "GradeError", "Grader", "Sample", "load_grader", "score_each", "unscored"]

FOLDER = "tunesmith.grade.graders"

GradeError = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""Why an answer is unscored, in the words of OpenAI's grader API."""


class Sample(Value):
    """What a model answered: its text and the tools it called."""

    output_text: str
    output_tools: tuple[dict[str, JsonValue], ...] = ()

    @cached_property
    def output_json(self) -> Any:
        """The answer read as JSON; None when it is no JSON."""
        try:
            return json.loads(self.output_text)
        except ValueError:
            return None

    def namespace(self) -> dict[str, Any]:
        """What `{{sample.…}}` and a Python grader's `sample` can see."""
        return {
            "output_text": self.output_text,
            "output_json": self.output_json,
            "output_tools": list(self.output_tools),
        }


class Answered(NamedTuple):
    """One answer and the row it belongs to."""

    sample: Sample
    item: Mapping[str, Any]
    """the dataset row's own fields, what `{{item.…}}` can see"""


class Grade(Value):
    """A score, or None with the reason it could not be given.

    `sub_scores` holds the parts of a grader made of others; `tokens` counts what judging models read and wrote.
    """

    score: float | None
    error: GradeError | None = None
    detail: str = ""
    sub_scores: dict[str, float | None] = {}
    tokens: dict[str, int] = {}


class Grader(Value):
    """A frozen set of options that can grade answers."""

    @abstractmethod
    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """One grade per answer, in order. `judge` answers for models without an address of their own.

        Raises EvaluationError when the grader cannot work at all; trouble with one answer is an unscored grade.
        """

    def judges(self) -> tuple[str, ...]:
        """Models that the caller's `judge` must be able to ask."""
        return ()

    async def warning(self) -> str | None:
        """What a person must be told before this grader works on this machine, or None."""
        return None


def load_grader(spec: Mapping[str, Any]) -> Grader:
    """The grader that `spec` describes: `{type: NAME, name: free label, options}` as OpenAI writes it, or
    `{name: NAME, options}` as a recipe does. OpenAI's `image_tag` of Python code names an image of theirs: left out.

    Raises RecipeError with all problems, NotFound for an unknown grader, with the nearest match.
    """
    kind = spec.get("type", spec.get("name"))
    if not isinstance(kind, str):
        raise RecipeError(
            [Problem("is missing", field="type", fix=f"allowed: {', '.join(plugins.names(FOLDER))}")],
            message="The grader is not acceptable.",
        )
    try:
        plugin = plugins.load(FOLDER, kind)
        apart = ("type", "name", "image_tag") if spec.get("type") == "python" else ("type", "name")
        grader = plugin.model_validate({field: value for field, value in spec.items() if field not in apart})
    except ValidationError as error:
        problems = [
            Problem(detail["msg"].removeprefix("Value error, "), field=".".join(map(str, detail["loc"])) or None)
            for detail in error.errors()
        ]
        raise RecipeError(problems, message=f"The {kind} grader is not acceptable.") from None
    except NotFound as error:
        raise NotFound(f"There is no grader {kind!r}.", hint=error.hint) from None
    if not isinstance(grader, Grader):
        raise TunesmithError(f"{plugin.__module__} must export a class derived from {Grader.__module__}.Grader.")
    return grader


def unscored(error: GradeError, detail: str, tokens: Mapping[str, int] | None = None) -> Grade:
    """The grade of an answer that could not be scored."""
    return Grade(score=None, error=error, detail=detail[:2000], tokens=dict(tokens or {}))


def score_each(answers: Sequence[Answered], score: Callable[[Answered], float]) -> list[Grade]:
    """Grades by a plain function; a template variable that an answer's row lacks makes that answer unscored."""
    grades = []
    for answered in answers:
        try:
            grades.append(Grade(score=score(answered)))
        except Unresolved as error:
            grades.append(unscored(error.kind, str(error)))
    return grades
