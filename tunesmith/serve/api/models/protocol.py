"""What /v1/models answers."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["Model", "ModelDeleted", "ModelList"]


class Model(Value):
    """One model id. `created` is in Unix seconds; `release` is the immutable release it means now (null: the base)."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "tunesmith"
    release: str | None = None


class ModelList(Value):
    """All model ids."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class ModelDeleted(Value):
    """The model is gone."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
