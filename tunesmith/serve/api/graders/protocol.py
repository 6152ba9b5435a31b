"""What /v1/fine_tuning/alpha/graders takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from tunesmith.serve.body import Body
from tunesmith.serve.graders import AnyGrader
from tunesmith.types.base import Value

__all__ = ["GraderErrors", "GraderMetadata", "RunAnswer", "RunRequest", "ValidateAnswer", "ValidateRequest"]


class ValidateRequest(Body):
    """A grader to look over."""

    grader: AnyGrader


class ValidateAnswer(Value):
    """The grader as it was given, which can be used."""

    grader: dict[str, Any]


class RunRequest(Body):
    """A grader, the answer to grade (`{{sample.…}}`) and the dataset row it belongs to (`{{item.…}}`)."""

    grader: AnyGrader
    model_sample: str
    item: dict[str, JsonValue] | None = None


class GraderErrors(Value):
    """Why there is no score; at most one of the flags is true."""

    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None


class GraderMetadata(Value):
    """How the grade came about. `execution_time` is in seconds; `error_details` (ours) explains any error in words."""

    name: str
    type: str
    errors: GraderErrors
    error_details: str | None
    execution_time: float
    scores: dict[str, float | None]
    token_usage: int | None
    sampled_model_name: str | None


class RunAnswer(Value):
    """The reward; 0 with an error flag in `metadata.errors` when there is none."""

    reward: float
    sub_rewards: dict[str, float | None]
    metadata: GraderMetadata
    model_grader_token_usage_per_model: dict[str, int]
