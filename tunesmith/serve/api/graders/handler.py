"""Trying graders out before a job or an eval depends on them."""

from __future__ import annotations

import time

from tunesmith.errors import TunesmithError
from tunesmith.grade.grader import Answered, Grade, Sample, unscored
from tunesmith.grade.judge import Judge
from tunesmith.serve.api.graders.protocol import GraderErrors, GraderMetadata, RunAnswer, RunRequest, ValidateRequest
from tunesmith.serve.graders import as_grader

__all__ = ["run", "validate"]


def validate(request: ValidateRequest) -> None:
    """Raise ApiError 400 unless the grader can be used."""
    as_grader(request.grader)


async def run(request: RunRequest, judge: Judge) -> RunAnswer:
    """The grade of one answer; models of this server judge through `judge`.

    Raises ApiError 400 for a grader that cannot be used.
    """
    grader = as_grader(request.grader)
    began = time.perf_counter()
    answered = Answered(Sample(output_text=request.model_sample), request.item or {})
    try:
        (grade,) = await grader.grade([answered], judge)
    except TunesmithError as error:
        grade = unscored("other_error", str(error))
    seconds = time.perf_counter() - began
    return RunAnswer(
        reward=0.0 if grade.score is None else grade.score,
        sub_rewards=grade.sub_scores,
        metadata=GraderMetadata(
            name=request.grader.name,
            type=request.grader.type,
            errors=_errors(grade),
            error_details=grade.detail or None,
            execution_time=seconds,
            scores=grade.sub_scores,
            token_usage=sum(grade.tokens.values()) if grade.tokens else None,
            sampled_model_name=next(iter(grade.tokens), None),
        ),
        model_grader_token_usage_per_model=grade.tokens,
    )


def _errors(grade: Grade) -> GraderErrors:
    if grade.error is None:
        return GraderErrors()
    details = {
        "python_grader_server_error": "python_grader_server_error_type",
        "python_grader_runtime_error": "python_grader_runtime_error_details",
        "model_grader_server_error": "model_grader_server_error_details",
    }
    place = details.get(grade.error)
    return GraderErrors.model_validate({grade.error: True} | ({place: grade.detail} if place else {}))
