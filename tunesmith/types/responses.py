"""A response that is kept."""

from __future__ import annotations

from typing import Any

from tunesmith.types.base import Value

__all__ = ["StoredResponse"]


class StoredResponse(Value):
    """A response as the API gives it (`content`), the items it was asked with and the response it goes on from.

    `created_at` is in Unix seconds.
    """

    id: str
    project: str
    created_at: int
    previous: str | None
    content: dict[str, Any]
    input: tuple[dict[str, Any], ...]
