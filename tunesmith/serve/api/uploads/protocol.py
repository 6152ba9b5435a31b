"""What /v1/uploads takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.serve.api.files.protocol import ExpiresAfter, FileName, FileObject, UploadPurpose
from tunesmith.store.uploads import MOST_PARTS
from tunesmith.types.base import Value
from tunesmith.types.files import Purpose
from tunesmith.types.uploads import UploadState

__all__ = ["MOST_BYTES", "PART_BYTES", "CompleteUpload", "CreateUpload", "PartObject", "UploadObject"]

MOST_BYTES = 8 << 30
PART_BYTES = 64 << 20


class CreateUpload(Value):
    """The file that will come: its name, purpose and size in bytes."""

    bytes: int = Field(ge=1, le=MOST_BYTES)
    filename: FileName
    mime_type: FileName
    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Value):
    """The parts in the order of the file, and its MD5 in hex when the client knows it."""

    part_ids: list[str] = Field(min_length=1, max_length=MOST_PARTS)
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


class PartObject(Value):
    """A part that has come."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


class UploadObject(Value):
    """An upload; `file` is there once it is completed."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Purpose
    status: UploadState
    file: FileObject | None = None
