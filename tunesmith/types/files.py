"""An uploaded or made file: what is known of it besides its bytes."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["FileDetails", "Purpose", "StoredFile"]

Purpose = Literal[
    "assistants",
    "assistants_output",
    "batch",
    "batch_output",
    "fine-tune",
    "fine-tune-results",
    "vision",
    "user_data",
    "evals",
]


class FileDetails(Value):
    """Whose file it is, what it is called and what for. The name is data: nothing on the disk is named after it.

    `expires_at` is in Unix seconds; None: it is kept until somebody deletes it.
    """

    project: str
    filename: str
    purpose: Purpose
    expires_at: int | None = None


class StoredFile(FileDetails):
    """A file that is kept: its id, its size in bytes, the SHA-256 (hex) of its bytes, when it came (Unix seconds)."""

    id: str
    bytes: int
    digest: str
    created_at: int
