"""A model that a fine-tuning job made: the name it is asked for by, and the release behind it."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["JOB_PREFIX", "TUNED_PREFIX", "TunedModel"]

JOB_PREFIX = "ftjob-"
"""What a job's id begins with, and so the name of the release it makes, which nobody but its project sees."""

TUNED_PREFIX = "ft:"
"""What the name of a job's model begins with."""


class TunedModel(Value):
    """`name` (`ft:<base>:<project>:<suffix>:<id>`, of a checkpoint with `:ckpt-step-N` behind it) means the release
    with the id `release`, to `project` alone. `job` made it, at `created_at` (Unix seconds).
    """

    name: str
    project: str
    release: str
    job: str
    created_at: int
