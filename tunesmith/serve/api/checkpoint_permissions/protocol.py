"""What /v1/fine_tuning/checkpoints/{checkpoint}/permissions takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.serve.body import Body
from tunesmith.types.base import Value

__all__ = ["PermissionCreate", "PermissionDeleted", "PermissionObject"]

Project = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]


class PermissionCreate(Body):
    """Projects that may use the checkpoint."""

    project_ids: list[Project] = Field(min_length=1, max_length=100)


class PermissionObject(Value):
    """A project that may use the checkpoint."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    created_at: int
    project_id: str


class PermissionDeleted(Value):
    """The permission is gone."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    deleted: Literal[True] = True
