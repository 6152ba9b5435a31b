"""A chat that is kept."""

from __future__ import annotations

from typing import Any

from tunesmith.types.base import Value

__all__ = ["StoredChat"]


class StoredChat(Value):
    """An answer as the API gives it (`content`), the messages it was asked with, as they were sent, and what it is
    labelled with. `created_at` is in Unix seconds.
    """

    id: str
    project: str
    created_at: int
    metadata: dict[str, str]
    content: dict[str, Any]
    messages: tuple[dict[str, Any], ...]

    @property
    def model(self) -> str:
        """The model that answered, by the name it was asked by."""
        return str(self.content["model"])
