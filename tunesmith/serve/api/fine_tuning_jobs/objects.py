"""Stored jobs, events and checkpoints as clients see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunesmith.jobs.order import estimated_finish, position
from tunesmith.serve.api.fine_tuning_jobs.protocol import Checkpoint, Event, JobObject
from tunesmith.types.jobs import Integration, Job, JobCheckpoint, JobEvent

__all__ = ["checkpoint_object", "event_object", "job_object"]

_OWN_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "supervised": (),
    "dpo": ("beta",),
    "reinforcement": ("compute_multiplier", "eval_interval", "eval_samples", "reasoning_effort"),
}
_NUMBERS = ("n_epochs", "batch_size", "learning_rate_multiplier")


def job_object(job: Job, jobs: Sequence[Job], done: Iterable[Job], now: int) -> JobObject:
    """`job` in view of all `jobs` that are not finished (for its place in the queue) and some that are `done`."""
    request = job.request
    numbers = _numbers(job)
    return JobObject(
        id=job.id,
        created_at=job.created_at,
        model=request.model,
        training_file=request.training_file,
        validation_file=request.validation_file,
        hyperparameters={name: numbers[name] for name in _NUMBERS},
        method=_method(job, numbers),
        fine_tuned_model=job.model,
        finished_at=job.finished_at,
        organization_id=f"org-{job.project}",
        result_files=job.result_files,
        seed=request.seed,
        status=job.status,
        trained_tokens=job.trained_tokens,
        estimated_finish=estimated_finish(jobs, done, job, now),
        error=job.error,
        metadata=request.metadata,
        integrations=tuple(_integration(each) for each in request.integrations),
        suffix=request.suffix,
        priority=request.priority,
        queue_position=position(jobs, job),
    )


def event_object(event: JobEvent) -> Event:
    """The event as clients see it."""
    return Event(
        id=event.id,
        created_at=event.created_at,
        level=event.level,
        message=event.message,
        type=event.type,
        data=event.data,
    )


def checkpoint_object(checkpoint: JobCheckpoint) -> Checkpoint:
    """The checkpoint as clients see it."""
    return Checkpoint(
        id=checkpoint.id,
        created_at=checkpoint.created_at,
        fine_tuning_job_id=checkpoint.job,
        step_number=checkpoint.step,
        fine_tuned_model_checkpoint=checkpoint.model,
        metrics=checkpoint.metrics,
    )


def _numbers(job: Job) -> dict[str, Any]:
    """As they were given, and as they were resolved once the job has begun."""
    begun = job.started_at is not None and job.resolved is not None
    known = job.resolved if begun else job.request.method
    names = (*_NUMBERS, *_OWN_NUMBERS[job.request.method.type])
    return {name: getattr(known, name) for name in names}


def _method(job: Job, numbers: dict[str, Any]) -> dict[str, Any]:
    method = job.request.method
    own: dict[str, Any] = {"hyperparameters": numbers}
    if method.grader is not None:
        own["grader"] = method.grader
    return {"type": method.type, method.type: own}


def _integration(given: Integration) -> dict[str, Any]:
    return {"type": "wandb", "wandb": {**given.model_dump(mode="json"), "tags": list(given.tags)}}
