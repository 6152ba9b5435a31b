"""A file that comes in parts."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value
from tunesmith.types.files import Purpose

__all__ = ["Part", "Upload", "UploadState"]

UploadState = Literal["pending", "completed", "cancelled", "expired"]


class Upload(Value):
    """A file to come, `bytes` long. Times are in Unix seconds; `file_seconds` is how long the file shall be kept."""

    id: str
    project: str
    filename: str
    purpose: Purpose
    mime_type: str
    bytes: int
    status: UploadState = "pending"
    created_at: int
    expires_at: int
    file_seconds: int | None = None
    file_id: str | None = None


class Part(Value):
    """One part of an upload; its bytes lie under their SHA-256 (hex)."""

    id: str
    upload_id: str
    digest: str
    bytes: int
    created_at: int
