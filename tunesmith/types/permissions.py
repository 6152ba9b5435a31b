"""Which other projects may use a fine-tuned model."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["CheckpointPermission"]


class CheckpointPermission(Value):
    """`project`, which owns the model `checkpoint`, lets `grantee` use it since `created_at` (Unix seconds)."""

    id: str
    project: str
    checkpoint: str
    grantee: str
    created_at: int
