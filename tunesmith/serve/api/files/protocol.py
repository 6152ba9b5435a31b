"""What /v1/files takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tunesmith.types.base import Value
from tunesmith.types.files import Purpose, StoredFile

__all__ = [
    "CreateFile",
    "DeletedFile",
    "Examples",
    "ExpiresAfter",
    "FileName",
    "FileObject",
    "UploadPurpose",
    "file_object",
    "storable",
]

UploadPurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]


def storable(text: str) -> str:
    """`text`, if any database can keep it. Raises ValueError."""
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise ValueError("it holds a character that no text has")
    return text


FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]


class ExpiresAfter(Value):
    """When the file is deleted by itself: so many seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2592000)


class CreateFile(Value):
    """The fields of the form besides the file."""

    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None


class Examples(CreateFile):
    """A file given as JSON: its lines as a list of objects."""

    filename: FileName = "examples.jsonl"
    purpose: UploadPurpose = "fine-tune"
    examples: list[dict[str, Any]] = Field(min_length=1)


class FileObject(Value):
    """One file. Times are in Unix seconds. `status` is kept by OpenAI for old clients: a file is checked when it
    comes, so there is no other than processed.
    """

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["uploaded", "processed", "error"] = "processed"
    status_details: str | None = None


class DeletedFile(Value):
    """The file is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


def file_object(stored: StoredFile) -> FileObject:
    """`stored` as clients see it."""
    return FileObject.model_validate(stored.model_dump(exclude={"project", "digest"}))
