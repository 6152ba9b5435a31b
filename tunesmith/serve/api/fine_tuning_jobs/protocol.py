"""What the fine-tuning jobs endpoints take and give, as OpenAI's client writes and reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.serve.body import Body
from tunesmith.types.base import Value
from tunesmith.types.jobs import JobError, JobStatus

__all__ = [
    "Checkpoint",
    "CreateJob",
    "Dpo",
    "DpoBody",
    "Event",
    "IntegrationBody",
    "JobObject",
    "MethodBody",
    "Reinforcement",
    "ReinforcementBody",
    "Supervised",
    "SupervisedBody",
    "Wandb",
]

Auto = Literal["auto"]
Epochs = Annotated[int, Field(ge=1, le=50)]
BatchSize = Annotated[int, Field(ge=1, le=256)]
Multiplier = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Key = Annotated[str, Field(max_length=64)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
Text = Annotated[str, Field(max_length=512)]


class Supervised(Value):
    """The numbers of supervised tuning."""

    n_epochs: Auto | Epochs | None = None
    batch_size: Auto | BatchSize | None = None
    learning_rate_multiplier: Auto | Multiplier | None = None


class Dpo(Supervised):
    """Those of direct preference optimisation."""

    beta: Auto | Annotated[float, Field(gt=0.0, le=2.0)] | None = None


class Reinforcement(Supervised):
    """Those of learning from a grader. `reasoning_effort` changes nothing: no model here reasons apart."""

    compute_multiplier: Auto | Annotated[float, Field(gt=1e-5, le=10.0)] | None = None
    eval_interval: Auto | Count | None = None
    eval_samples: Auto | Annotated[int, Field(ge=1, le=64)] | None = None
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None


class SupervisedBody(Value):
    """`method.supervised`."""

    hyperparameters: Supervised | None = None


class DpoBody(Value):
    """`method.dpo`."""

    hyperparameters: Dpo | None = None


class ReinforcementBody(Value):
    """`method.reinforcement`."""

    grader: dict[str, Any]
    hyperparameters: Reinforcement | None = None


class MethodBody(Value):
    """How to train: a type, and under its name what belongs to it."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedBody | None = None
    dpo: DpoBody | None = None
    reinforcement: ReinforcementBody | None = None

    @field_validator("supervised", "dpo", "reinforcement")
    @classmethod
    def _fits_its_type(cls, value: Any, info: Any) -> Any:
        chosen = info.data.get("type", info.field_name)  # a type that is wrong itself is told of alone
        if value is not None and chosen != info.field_name:
            raise ValueError(f"{info.field_name} has no effect on the type {chosen!r}; remove it")
        return value

    @model_validator(mode="after")
    def _has_a_grader(self) -> MethodBody:
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement needs a grader: {'reinforcement': {'grader': {...}}}")
        return self


class Wandb(Value):
    """A project of Weights & Biases."""

    project: Annotated[str, Field(min_length=1)]
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] | None = None


class IntegrationBody(Value):
    """Where metrics go besides."""

    type: Literal["wandb"]
    wandb: Wandb


class CreateJob(Body):
    """A job to be made. `priority` (the highest first) and `labels` (what its worker must have) are Tunesmith's own."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: MethodBody | None = None
    hyperparameters: Supervised | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[dict[Key, Text], Field(max_length=16)] | None = None
    integrations: tuple[IntegrationBody, ...] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    labels: Annotated[tuple[Label, ...], Field(max_length=8)] | None = None

    @field_validator("hyperparameters")
    @classmethod
    def _one_place_for_numbers(cls, value: Supervised | None, info: Any) -> Supervised | None:
        if value is not None and info.data.get("method") is not None:
            raise ValueError("hyperparameters and method both say how to train; use method")
        return value


class JobObject(Value):
    """A job. `queue_position` (1: next) is Tunesmith's own."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    model: str
    training_file: str
    validation_file: str | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    fine_tuned_model: str | None
    finished_at: int | None
    organization_id: str
    result_files: tuple[str, ...]
    seed: int
    status: JobStatus
    trained_tokens: int | None
    estimated_finish: int | None
    error: JobError | None
    metadata: dict[str, str] | None
    integrations: tuple[dict[str, Any], ...]
    suffix: str | None
    priority: int
    queue_position: int | None


class Event(Value):
    """Something a job said."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None


class Checkpoint(Value):
    """The model as it was after an epoch."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuning_job_id: str
    step_number: int
    fine_tuned_model_checkpoint: str
    metrics: dict[str, float]
