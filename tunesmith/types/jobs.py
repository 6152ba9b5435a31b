"""A fine-tuning job: what was asked for, what it has come to, what it said on the way."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tunesmith.types.base import Value

__all__ = [
    "ACTIVE",
    "FINISHED",
    "Auto",
    "Integration",
    "Job",
    "JobCheckpoint",
    "JobError",
    "JobEvent",
    "JobProgress",
    "JobRequest",
    "JobStatus",
    "Method",
    "MethodName",
    "Resolved",
]

JobStatus = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
ACTIVE: tuple[JobStatus, ...] = ("validating_files", "running")
"""Statuses in which a worker may be busy with a job."""
FINISHED: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
"""Statuses that a job never leaves."""

MethodName = Literal["supervised", "dpo", "reinforcement"]
Auto = Literal["auto"]


class Method(Value):
    """How a job trains; each number is "auto" or given. `beta` belongs to dpo, what follows it to reinforcement."""

    type: MethodName = "supervised"
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"
    beta: float | Auto = "auto"
    compute_multiplier: float | Auto = "auto"
    eval_interval: int | Auto = "auto"
    eval_samples: int | Auto = "auto"
    reasoning_effort: str = "default"
    grader: dict[str, Any] | None = None


class Resolved(Value):
    """The numbers a job really trains with; what its method does not have is None."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    beta: float | None = None
    compute_multiplier: float | None = None
    eval_interval: int | None = None
    eval_samples: int | None = None
    reasoning_effort: str | None = None


class Integration(Value):
    """Where a job's metrics go besides: a project of Weights & Biases."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()


class JobRequest(Value):
    """What was asked for. `base` is what a recipe calls the base model, `model` the name it was asked by; `context` is
    the most tokens a row may have. `labels` are those a worker must have.
    """

    project: str
    model: str
    base: str
    base_name: str
    context: int
    training_file: str
    validation_file: str | None = None
    method: Method = Method()
    given_in: Literal["method", "hyperparameters"] = "method"
    suffix: str | None = None
    seed: int
    metadata: dict[str, str] | None = None
    integrations: tuple[Integration, ...] = ()
    priority: int = 0
    labels: tuple[str, ...] = ()


class JobError(Value):
    """Why a job failed, in OpenAI's form."""

    code: str
    message: str
    param: str | None = None


class JobProgress(Value):
    """How far training is: `step` of `steps` done, `seconds_per_step` as measured (None: not known yet)."""

    step: int
    steps: int
    seconds_per_step: float | None = None


class Job(Value):
    """A job as it is now. `turn` counts how often it was started or started again by a person (resume); `worker` is
    who is busy with it. `rows` are the training rows, known after validation. Times in Unix seconds.
    """

    id: str
    request: JobRequest
    status: JobStatus
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    turn: int = 0
    worker: str | None = None
    rows: int | None = None
    resolved: Resolved | None = None
    progress: JobProgress | None = None
    model: str | None = None
    result_files: tuple[str, ...] = ()
    trained_tokens: int | None = None
    error: JobError | None = None

    @property
    def project(self) -> str:
        """Whose job it is."""
        return self.request.project

    @property
    def finished(self) -> bool:
        """Whether it will never change again."""
        return self.status in FINISHED


class JobEvent(Value):
    """Something a job said. `key` makes it unique within its job: said again after a crash it is there once."""

    id: str
    job: str
    created_at: int
    level: Literal["info", "warn", "error"] = "info"
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None
    key: Annotated[str, Field(max_length=200)]


class JobCheckpoint(Value):
    """The model as it was after an epoch, under the name it can be asked for by."""

    id: str
    job: str
    created_at: int
    step: int
    model: str
    metrics: dict[str, float]
